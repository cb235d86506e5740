"""Standardised: local correlation as a squared difference."""

from dataclasses import dataclass

from coincide.features.local import locally_standardised
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named, positive
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("standardised")
@dataclass(frozen=True)
class Standardised(Similarity):
    r"""Mean squared difference of images whose local brightness and contrast are taken away.

    $$
    \hat I = \frac{I - G * I}{\sqrt{G * I^2 - (G * I)^2 + \varepsilon}}, \qquad
    \frac{1}{|\Omega|} \int_\Omega (\hat F - \hat W)^2 \, \mathrm{d}x
    $$

    which is about $2 - 2\rho$ with the local correlation $\rho$ in Gaussian windows. Unlike
    `lncc`, the windows are looked at once, before warping, and what is left is a squared
    difference of single points, as samples of points and optimisers of least squares need.

    Args:
        sigma: Standard deviation of the window, mm, at least a voxel (> 0).
        floor: Variance, as a fraction of the image's, below which a window counts as flat (> 0).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S), standardised, on one grid; returns (B,), 0 is
        best, and 1 to 2 where nothing agrees.

    Example:
        >>> a = Standardised().prepare(image)
        >>> Standardised().compare(a, a)
        tensor([0.])

    References:
        Cachier et al. (2003), doi:10.1016/S1077-3142(03)00002-X, for correlation in Gaussian
        windows.
    """

    squared = True
    pointwise = True
    sigma: float = 6.0
    floor: float = 0.01

    def __post_init__(self):
        positive(self, "sigma", "floor")

    def prepare(self, image: Image) -> Image:
        """Every channel, locally standardised."""
        return locally_standardised(image, self.sigma, self.floor)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

"""Local normalised correlation in Gaussian windows."""

from dataclasses import dataclass

from torch import Tensor

from coincide.kernels.smooth import gaussian
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("lncc_gaussian")
@dataclass(frozen=True)
class GaussianLNCC(Similarity):
    r"""Squared correlation under a Gaussian window: smoother than the box, slower.

    $$
    1 - \frac{1}{|\Omega|} \int_\Omega \frac{\mathrm{cov}_G(F, W)^2}
        {\mathrm{var}_G(F)\,\mathrm{var}_G(W)} \, \mathrm{d}x,
    \qquad \mathrm{cov}_G(F, W) = \frac{G * (mFW)}{G * m} - \frac{G * (mF)}{G * m}
        \frac{G * (mW)}{G * m}
    $$

    with the mask m: a normalised convolution, so that nothing leaks in from outside it.

    Args:
        sigma: Standard deviation of the window, voxels of the level's finest axis and as many mm
            along the others (> 0).
        floor: Variance, as a fraction of the image's, below which a window counts as flat.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 1], 0 is best.

    Example:
        >>> bool(GaussianLNCC().compare(image, image) < 0.05)
        True

    References:
        Cachier et al. (2003), doi:10.1016/S1077-3142(03)00002-X.
    """

    sigma: float = 2.0
    floor: float = 1e-5

    def prepare(self, image: Image) -> Image:
        """The image with mean 0 and variance 1."""
        return image.standardised()

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        weight = warped.weight()
        sigma = [self.sigma * float(r) for r in fixed.grid.fineness]
        # far outside the mask nothing is known, and does not count
        mass = gaussian(weight, sigma).clamp_min(1e-6)

        def mean(values: Tensor) -> Tensor:
            return gaussian(weight * values, sigma) / mass

        f, w = fixed.data, warped.data
        mean_f, mean_w = mean(f), mean(w)
        covariance = mean(f * w) - mean_f * mean_w
        # a difference of means may come out below zero where the window is flat
        spread_f = (mean(f * f) - mean_f**2).clamp_min(0) + self.floor
        spread_w = (mean(w * w) - mean_w**2).clamp_min(0) + self.floor
        return 1 - warped.mean(covariance**2 / (spread_f * spread_w))

"""Local normalised correlation in box windows."""

from dataclasses import dataclass

import numpy as np

from coincide.kernels.lncc import decorrelation
from coincide.kernels.spans import support
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("lncc")
@dataclass(frozen=True)
class LNCC(Similarity):
    r"""Squared correlation in a window about every voxel: blind to slow changes of brightness.

    $$
    \mathrm{LNCC}(F, W) = 1 - \frac{1}{|\Omega|} \int_\Omega
        \frac{\mathrm{cov}_w(F, W)^2}{\mathrm{var}_w(F)\,\mathrm{var}_w(W)} \, \mathrm{d}x
    $$

    Windows shrink at the border and at masks, as in ITK's ANTS neighbourhood correlation. Both
    images are standardised first, so that `floor` means the same for every image.

    Args:
        radius: Half width of the window, in voxels of the level's finest axis and as many mm along
            the others, so that it narrows as levels refine (1 or more; 3 suits one modality, 2
            different ones).
        floor: Variance, as a fraction of the image's, below which a window counts as flat.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 1], 0 is best.

    Example:
        >>> bool(LNCC().compare(image, image) < 0.05)
        True

    References:
        Avants et al. (2008), doi:10.1016/j.media.2007.06.004.
    """

    radius: int = 4
    floor: float = 1e-5

    def prepare(self, image: Image) -> Image:
        """The image with mean 0 and variance 1."""
        return image.standardised()

    def support(self, fixed: Image) -> np.ndarray | None:
        """What is near enough to more than background: elsewhere no correlation changes."""
        # only the compiled loops of the CPU can leave voxels out
        if fixed.data.device.type != "cpu":
            return None
        return support(fixed.data, self._radius(fixed))

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        args = fixed.data, warped.data, warped.weight(), self._radius(fixed), self.floor
        return decorrelation(*args)

    def _radius(self, fixed: Image) -> tuple[int, ...]:
        return tuple(round(self.radius * float(r)) for r in fixed.grid.fineness)

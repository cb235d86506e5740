"""Mean squared difference: same contrast, same scale."""

from dataclasses import dataclass

from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("mse")
@dataclass(frozen=True)
class MSE(Similarity):
    r"""Mean squared difference, for images whose intensities mean the same (CT, label maps).

    $$\mathrm{MSE}(F, W) = \frac{1}{|\Omega|} \int_\Omega (F - W)^2 \, \mathrm{d}x$$

    over the valid overlap $\Omega$ only, so that moving content out of view never pays.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> MSE().compare(image, image)
        tensor([0.])
    """

    squared = True
    pointwise = True

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

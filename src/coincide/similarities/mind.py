"""MIND: match what each place looks like beside its neighbours, whatever the modality."""

from dataclasses import dataclass

from coincide.features.self_similarity import neighbours, self_similarity
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("mind")
@dataclass(frozen=True)
class MIND(Similarity):
    r"""Modality independent neighbourhood descriptor: each patch beside its face neighbours.

    $$S_k(x) = \exp\!\left(-\frac{D(x, x + r_k) - \min_l D(x, x + r_l)}{V(x)}\right)$$

    with patch distances $D$ and their mean $V$; the cost is the mean squared difference of $S$.

    Args:
        radius: Half width of a patch, voxels of the level.
        dilation: Distance to the neighbours, voxels of the level.
        pyramid: Whether descriptors are made on the finest level alone and averaged for coarser
            ones, rather than of the coarse images.

    Shape:
        Descriptors (B, 2D, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> MIND().compare(*[MIND().prepare(image)] * 2)
        tensor([0.])

    References:
        Heinrich et al. (2012), doi:10.1016/j.media.2012.05.008.
    """

    squared = True
    pointwise = True
    radius: int = 1
    dilation: int = 2
    pyramid: bool = True

    def prepare(self, image: Image) -> Image:
        """Descriptors, 2D channels."""
        offsets = neighbours(image.dim, self.dilation)
        # each neighbour is compared with the patch at the place itself
        return self_similarity(image, offsets, 0 * offsets, self.radius)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

"""MIND-SSC: self-similarity context, MIND without the noise of the central patch."""

from dataclasses import dataclass

from coincide.features.self_similarity import adjacent_pairs, self_similarity
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("mind_ssc")
@dataclass(frozen=True)
class MINDSSC(Similarity):
    r"""Self-similarity context: distances between the face neighbours of each place.

    As `mind`, but a channel compares two neighbours $r_k, r_l$ with $|r_k - r_l|^2 = 2$, and never
    the central patch: 12 channels in 3-D, 4 in 2-D.

    $$S_{kl}(x) = \exp\!\left(-\frac{D(x + r_k, x + r_l) - \min D}{V(x)}\right)$$

    Args:
        radius: Half width of a patch, voxels of the level.
        dilation: Distance to the neighbours, voxels of the level.
        pyramid: Whether descriptors are made on the finest level alone and averaged for coarser
            ones, rather than of the coarse images.

    Shape:
        Descriptors (B, C, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> MINDSSC().compare(*[MINDSSC().prepare(image)] * 2)
        tensor([0.])

    References:
        Heinrich et al. (2013), doi:10.1007/978-3-642-40811-3_24.
    """

    squared = True
    pointwise = True
    radius: int = 1
    dilation: int = 2
    pyramid: bool = True

    def prepare(self, image: Image) -> Image:
        """Descriptors, 12 channels in 3-D."""
        first, second = adjacent_pairs(image.dim, self.dilation)
        return self_similarity(image, first, second, self.radius)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

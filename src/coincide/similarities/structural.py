"""Structural: match what a network sees in each place, whatever the modality."""

from dataclasses import dataclass

from coincide.features.structural import structural_features
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("structural")
@dataclass(frozen=True)
class DSIR(Similarity):
    r"""Deep structural image representation: two modalities become one.

    A network, trained on random shapes in random contrasts, gives every voxel a unit vector $f$
    that tells it from the places around it, whatever the contrast; see
    `coincide.networks.structural`. The cost is the mean squared difference,
    $|f_F - f_W|^2 = 2 - 2 \langle f_F, f_W \rangle$ divided by the number of channels. Descriptors
    are made once from each image, then warped.

    Args:
        weights: File that `coincide train structural` wrote; empty: the weights that come along.
        sigma: Standard deviation of the Gaussian on the descriptors, voxels of the finest level.
        unit: Whether descriptors have length 1 after it too; otherwise they are shorter, and weigh
            less, where those of neighbours disagree.
        pyramid: Whether descriptors are made on the finest level alone and averaged for coarser
            ones, rather than of the coarse images.

    Shape:
        Descriptors (B, 16 C, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> a = DSIR().prepare(image)
        >>> DSIR().compare(a, a)
        tensor([0.])

    References:
        Mok et al. (2024), "Modality-Agnostic Structural Image Representation Learning for
        Deformable Multi-Modality Medical Image Registration", arXiv:2402.18933.
    """

    squared = True
    pointwise = True
    weights: str = ""
    sigma: float = 0.8
    unit: bool = True
    pyramid: bool = True

    def prepare(self, image: Image) -> Image:
        """Descriptors, 16 for each channel."""
        return structural_features(image, self.weights, self.sigma, unit=self.unit)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

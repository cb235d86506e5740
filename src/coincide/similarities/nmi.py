"""Normalised mutual information: mutual information that does not reward small overlaps."""

from dataclasses import dataclass

from torch import Tensor

from coincide.features.binned import binned
from coincide.features.channels import mean_of_each
from coincide.kernels.histogram import joint_histogram
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("nmi")
@dataclass(frozen=True)
class NMI(Similarity):
    r"""Two minus Studholme's ratio of entropies, for images of different modalities.

    $$\mathrm{NMI}(F, W) = 2 - \frac{H(F) + H(W)}{H(F, W)}$$

    Args:
        bins: Number of bins of each image, two of them padding on each side (8 or more).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 1].

    Example:
        >>> bool(NMI().compare(*[NMI().prepare(image)] * 2) < 0.5)
        True

    References:
        Studholme et al. (1999), doi:10.1016/S0031-3203(98)00091-0.
    """

    pointwise = True
    bins: int = 32

    def prepare(self, image: Image) -> Image:
        """Intensities counted in bins."""
        return binned(image, self.bins)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,): the mean over channels."""
        return mean_of_each(fixed, warped, self._of_one)

    def _of_one(self, fixed: Image, warped: Image) -> PerPair:
        table = joint_histogram(fixed.data, warped.data, warped.weight(), self.bins)
        p = table / table.sum((1, 2), keepdim=True).clamp_min(1e-12)
        both = entropy(p.flatten(1)).clamp_min(1e-12)
        return 2 - (entropy(p.sum(2)) + entropy(p.sum(1))) / both


def entropy(p: Tensor) -> Tensor:
    """Shannon entropy of densities (B, N) in nats, (B,)."""
    # an empty bin gives zero, not 0 · -inf
    return -(p * (p + 1e-16).log()).sum(1)

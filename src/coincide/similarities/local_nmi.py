"""Local normalised mutual information: a relation of its own, and a weight of one, everywhere."""

from dataclasses import dataclass

from coincide.features.binned import binned
from coincide.features.channels import mean_of_each
from coincide.objective import Similarity
from coincide.registry import named
from coincide.similarities.local_mi import windows
from coincide.similarities.nmi import entropy
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("local_nmi")
@dataclass(frozen=True)
class LocalNMI(Similarity):
    r"""Normalised mutual information in overlapping windows; busy places count no more than calm.

    $$
    2 - \frac{1}{\sum_k m_k} \sum_k m_k \frac{H_k(F) + H_k(W)}{H_k(F, W)}
    $$

    with the windows $k$ of `local_mi` and the entropies of `nmi`; a window where one image is
    constant gives 1.

    Args:
        radius: Half width of a window and distance to the next, in voxels of the level's finest
            axis and as many mm along the others (> 0).
        bins: Number of bins of each image, two of them padding on each side (8 or more).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 1].

    Example:
        >>> bool(LocalNMI().compare(*[LocalNMI().prepare(image)] * 2) < 0.7)
        True

    References:
        Studholme et al. (1999), doi:10.1016/S0031-3203(98)00091-0.
    """

    radius: float = 10.0
    bins: int = 12

    def prepare(self, image: Image) -> Image:
        """Intensities counted in bins."""
        return binned(image, self.bins)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,): the mean over channels."""
        return mean_of_each(fixed, warped, self._of_one)

    def _of_one(self, fixed: Image, warped: Image) -> PerPair:
        p, mass = windows(fixed, warped, self.bins, self.radius)
        flat = p.flatten(0, 1)
        both = entropy(flat.flatten(1)).clamp_min(1e-12)
        ratio = (entropy(flat.sum(2)) + entropy(flat.sum(1))) / both
        return 2 - (mass * ratio.view(mass.shape)).sum(1)

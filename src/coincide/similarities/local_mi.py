"""Local mutual information: any relation between intensities, a different one in each place."""

from dataclasses import dataclass

from torch import Tensor

from coincide.features.binned import binned
from coincide.features.channels import mean_of_each
from coincide.kernels.local_histogram import local_histogram
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("local_mi")
@dataclass(frozen=True)
class LocalMI(Similarity):
    r"""Negative mutual information in overlapping windows, for two contrasts and uneven light.

    $$
    -\frac{\sum_k m_k \, \mathrm{MI}_k(F, W)}{\sum_k m_k}
    $$

    in nats, with the estimate of `mi` in each window $k$ and the weight $m_k$ of the voxels that
    count there. Windows are tents on a lattice, overlap by half and add up to one.

    A window must hold many more voxels than there are pairs of bins, or every image looks
    related to every other: take few bins, and a larger radius in 2-D.

    Args:
        radius: Half width of a window and distance to the next, in voxels of the level's finest
            axis and as many mm along the others (> 0).
        bins: Number of bins of each image, two of them padding on each side (8 or more).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) at most 0.

    Example:
        >>> bool(LocalMI().compare(*[LocalMI().prepare(image)] * 2) < 0)
        True

    References:
        Klein et al. (2008), doi:10.1118/1.2842076, for windows in place of the whole image;
        Mattes et al. (2003), doi:10.1109/TMI.2003.809072.
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
        outer = p.sum(-1, keepdim=True) * p.sum(-2, keepdim=True)
        # an empty pair of bins gives zero, not 0 · -inf
        information = (p * ((p + 1e-16) / (outer + 1e-16)).log()).sum((-1, -2))
        return -(mass * information).sum(1)


def windows(fixed: Image, warped: Image, bins: int, radius: float) -> tuple[Tensor, Tensor]:
    """Joint densities of all windows, (B, K, bins, bins), and each one's share of weight, (B, K).

    Args:
        fixed: Intensities counted in bins.
        warped: The same, on the same grid.
        bins: Number of bins.
        radius: Half width of a window, voxels of the finest axis.
    """
    spacing = [radius * float(r) for r in fixed.grid.fineness]
    tables = local_histogram(fixed.data, warped.data, warped.weight(), bins, spacing)
    mass = tables.sum((-1, -2))
    density = tables / mass.clamp_min(1e-12)[..., None, None]
    return density, mass / mass.sum(1, keepdim=True).clamp_min(1e-12)

"""Mutual information: any relation between the two intensities."""

from dataclasses import dataclass

from coincide.features.binned import binned
from coincide.features.channels import mean_of_each
from coincide.kernels.histogram import joint_histogram
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("mi")
@dataclass(frozen=True)
class MI(Similarity):
    r"""Negative mutual information, for images of different modalities.

    $$\mathrm{MI}(F, W) = -\sum_{f, w} p(f, w) \log \frac{p(f, w)}{p(f)\,p(w)}$$

    in nats, with the joint density of Mattes: a box window for the fixed image, a cubic B-spline
    for the moving one.

    Args:
        bins: Number of bins of each image, two of them padding on each side (8 or more).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) at most 0.

    Example:
        >>> bool(MI().compare(*[MI().prepare(image)] * 2) < 0)
        True

    References:
        Mattes et al. (2003), doi:10.1109/TMI.2003.809072.
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
        outer = p.sum(2, keepdim=True) * p.sum(1, keepdim=True)
        # an empty pair of bins gives zero, not 0 · -inf
        return -(p * ((p + 1e-16) / (outer + 1e-16)).log()).sum((1, 2))

"""Correlation ratio: the warped intensity is some function of the fixed one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.features.binned import binned
from coincide.features.channels import mean_of_each
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("correlation_ratio")
@dataclass(frozen=True)
class CorrelationRatio(Similarity):
    r"""Share of the warped image's variance that the fixed intensity does not explain.

    $$
    1 - \eta^2(W \mid F) = \frac{1}{N \operatorname{var} W}
        \sum_b \sum_x w_b(F(x))\,\big(W(x) - \mu_b\big)^2, \qquad
    \mu_b = \frac{\sum_x w_b(F(x))\,W(x)}{\sum_x w_b(F(x))}
    $$

    with a window $w_b$ about each bin of the fixed image that falls linearly to its neighbours.
    Unlike mutual information it asks for a function of the fixed intensity, one way only: take
    as fixed the image that shows more tissues apart.

    Args:
        bins: Number of bins of the fixed image, two of them empty on each side (8 or more).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 1].

    Example:
        >>> bool(CorrelationRatio().compare(*[CorrelationRatio().prepare(image)] * 2) < 0.01)
        True

    References:
        Roche et al. (1998), doi:10.1007/BFb0056301.
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
        weight = warped.weight().double().flatten(1)
        count = weight.sum(1, keepdim=True).clamp_min(1e-12)
        values = warped.data.double().flatten(1)
        # about the mean, so that squares of large intensities do not cancel
        values = values - (weight * values).sum(1, keepdim=True) / count
        total = (weight * values.square()).sum(1)
        sums, counts = (self._sums(fixed, v) for v in (weight * values, weight))
        explained = sums.square() / counts.clamp_min(1e-12)
        # a constant image has nothing to explain: all of it counts as unexplained
        flat = 1e-12 * count[:, 0]
        return ((total - explained.sum(1) + flat) / (total + flat)).to(warped.data.dtype)

    def _sums(self, fixed: Image, values: Tensor) -> Tensor:
        """Sums of values (B, voxels) under the window of each bin, (B, bins)."""
        position = fixed.data.double().flatten(1).clamp(0, self.bins - 1)
        # the last bin is the far end of the last cell
        low = position.long().clamp_max(self.bins - 2)
        upper = position - low
        table = torch.zeros(len(low), self.bins, dtype=values.dtype, device=values.device)
        table = table.scatter_add(1, low, (1 - upper) * values)
        return table.scatter_add(1, low + 1, upper * values)

"""Learned metric: what a network, trained on aligned pairs, says of two images."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812

from coincide.features.channels import mean_of_each
from coincide.networks.two_channel import SIDE, STRIDES, metric_network
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.filled import filled
from coincide.space.image import Image
from coincide.space.orientation import oriented
from coincide.space.shapes import PerPair

NOTHING, LEAST = 2.0, 1e-6  # cost of two images without overlap, and weight of that belief


@named("learned_metric")
@dataclass(frozen=True)
class LearnedMetric(Similarity):
    r"""How well patches correspond, in the judgement of a network trained on aligned pairs.

    The network $f$ sees patches of 17 voxels along each axis of both images at once; above 0 it
    takes them for the same place. See `coincide.networks.two_channel`. The cost is

    $$1 - \frac{\sum_P w_P \, f(F_P, W_P)}{\sum_P w_P}$$

    over patches $P$ on a lattice, with $w_P$ the share of the voxels about the middle of the patch
    that count. Beyond border and mask the images go on as they end, so that no edge is seen there.
    Aligned patches have a cost of about 0, others of about 2, as does nothing in view. It is not
    symmetric, and no bound holds it; the network is blind to what it was not trained on, so
    weights of one's own from a few aligned pairs of the same two modalities are worth their
    minutes. It sees voxels: use it on grids as fine as those of the training.

    Args:
        weights: File that `coincide train metric` wrote; empty: the weights that come along, which
            know random shapes in random contrasts.
        stride: Voxels between patches: 4, 2 or 1; less takes up to $4^D$ times as long.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,), least is best.

    Example:
        >>> metric = LearnedMetric()
        >>> a, b = (metric.prepare(i) for i in (image, image.with_data(image.data.flip(2))))
        >>> bool(metric.compare(a, a) < metric.compare(a, b))
        True

    References:
        Simonovsky et al. (2016), doi:10.1007/978-3-319-46726-9_2.
    """

    weights: str = ""
    stride: int = 4

    def __post_init__(self):
        if self.stride not in STRIDES:
            raise ValueError(f"learned_metric takes a stride of 1, 2 or 4, not {self.stride}")

    def prepare(self, image: Image) -> Image:
        """The image with mean 0 and variance 1, which goes on where its mask ends."""
        image = filled(image).standardised()
        # a mask of ones too: beyond an image that has a mask its border goes on, not zeros
        return image.with_mask(image.weight())

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_of_each(fixed, warped, self._of_one)

    def _of_one(self, fixed: Image, warped: Image) -> PerPair:
        # the network sees the axes in the order of the world, however they are stored
        one, other = oriented(fixed), oriented(warped)
        pair, weight = torch.cat([one.data, other.data], 1), other.weight()
        thin = [axis for axis, n in enumerate(pair.shape) if axis > 1 and n == 1]
        if thin:  # slices are pictures
            pair, weight = pair.squeeze(thin[0]), weight.squeeze(thin[0])
        network = metric_network(self.weights, pair.device, pair.dtype)
        pad = (SIDE // 2,) * (2 * pair.ndim - 4)
        score = network(F.pad(pair, pad, mode="replicate"), self.stride)
        half = self.stride // 2
        pool = (F.avg_pool2d, F.avg_pool3d)[weight.ndim - 4]
        weight = pool(weight, 2 * half + 1, self.stride, half, count_include_pad=False)
        total = (weight * (1 - score)).flatten(1).sum(1) + LEAST * NOTHING
        return total / (weight.flatten(1).sum(1) + LEAST)

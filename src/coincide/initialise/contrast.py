"""Contrast: whether two aligned images were made alike."""

import torch
from torch import Tensor

from coincide.kernels.smooth import box
from coincide.space.image import Image
from coincide.space.pyramid import at

ACROSS = 64  # voxels across the image at which contrast is judged
LOCAL = 0.45  # mean correlation of neighbourhoods from which contrasts may count as the same
LINEAR = 0.9  # share of the dependence that a straight line must explain
BINS = 32


def same_contrast(fixed: Image, warped: Image) -> bool:
    """Whether bright is bright and dark is dark in both, so that correlation may be trusted.

    Two tests must pass: neighbourhoods correlate positively on average, and what the values of one
    image say about those of the other is said by a straight line, that is, the squared correlation
    is nearly the correlation ratio. Both are judged on a coarse grid, where a rough alignment is
    enough.

    Args:
        fixed: (1, 1, *S), values in [0, 1].
        warped: The other on the same grid; its mask is where both count.

    References:
        Roche et al. (1998), doi:10.1007/BFb0056301, for the correlation ratio.
    """
    assert warped.mask is not None
    grid = fixed.grid.shrink(fixed.grid.factors(float(fixed.grid.extent.max()) / ACROSS))
    f, w, both = (
        at(fixed.with_data(data.float()).with_mask(None), grid).data
        for data in (fixed.data, warped.data, warped.mask)
    )
    counts = both > 0.5
    local = _local_correlation(f, w, counts)
    return local > LOCAL and _linearity(f[counts], w[counts]) > LINEAR


def _local_correlation(f: Tensor, w: Tensor, counts: Tensor) -> float:
    radius = [2 if n > 1 else 0 for n in f.shape[2:]]
    mean_f, mean_w = box(f, radius), box(w, radius)
    var_f = box(f * f, radius) - mean_f**2
    var_w = box(w * w, radius) - mean_w**2
    # values lie in [0, 1]: a deviation below 0.01 is noise, whose correlation says nothing
    textured = counts & (var_f > 1e-4) & (var_w > 1e-4)
    if not bool(textured.any()):
        return 0.0
    product = (box(f * w, radius) - mean_f * mean_w)[textured]
    return float((product / (var_f * var_w)[textured].sqrt()).mean())


def _linearity(f: Tensor, w: Tensor) -> float:
    if len(f) < BINS or float(f.var()) < 1e-8 or float(w.var()) < 1e-8:
        return 0.0
    correlation = float(torch.corrcoef(torch.stack([f, w]))[0, 1])
    place = (f * (BINS - 1)).long().clamp(0, BINS - 1)
    count = torch.zeros(BINS).index_add_(0, place, torch.ones_like(w)).clamp_min(1)
    mean = torch.zeros(BINS).index_add_(0, place, w) / count
    ratio = 1 - float((w - mean[place]).square().mean()) / float(w.var())
    # squared, yet with its sign: an inverted contrast is not the same
    return correlation * abs(correlation) / max(ratio, 1e-6)

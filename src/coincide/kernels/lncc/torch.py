"""Local correlation with torch operations."""

import torch

from coincide.space.shapes import PerPair, Volume

GRADIENTS = {"decorrelation": ("fixed", "warped", "mask")}


def box_sum(volume: Volume, radius: tuple[int, ...]) -> Volume:
    """Sum over a box that shrinks at the border, (B, C, *S).

    A difference of running sums, so that its cost does not grow with the window.
    """
    for axis, r in enumerate(radius, start=2):
        n = volume.shape[axis]
        total = torch.cat([torch.zeros_like(volume.narrow(axis, 0, 1)), volume.cumsum(axis)], axis)
        position = torch.arange(n, device=volume.device)
        high, low = (position + r + 1).clamp_max(n), (position - r).clamp_min(0)
        volume = total.index_select(axis, high) - total.index_select(axis, low)
    return volume


def decorrelation(
    fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
) -> PerPair:
    """1 - the mean over the mask of the squared local correlation, (B,)."""
    n = box_sum(mask, radius).clamp_min(1e-12)
    f, w = box_sum(mask * fixed, radius), box_sum(mask * warped, radius)
    # sums where the formula has means: the count of the window cancels in the quotient
    cov = box_sum(mask * fixed * warped, radius) - f * w / n
    # differences of running sums may come out below zero where a window is flat
    vf = (box_sum(mask * fixed * fixed, radius) - f * f / n).clamp_min(0) + floor * n
    vw = (box_sum(mask * warped * warped, radius) - w * w / n).clamp_min(0) + floor * n
    voxels = tuple(range(1, fixed.ndim))
    total = (mask * cov * cov / (vf * vw)).sum(voxels)
    return 1 - total / (fixed.shape[1] * mask.sum(voxels)).clamp_min(1e-12)

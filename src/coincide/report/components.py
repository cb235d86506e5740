"""Components: descriptors of many numbers as colours."""

import torch
from torch import Tensor

SEEN = 200_000  # voxels that tell the components
LOW, HIGH = 0.02, 0.98  # quantiles that are drawn as 0 and 1


def components(features: Tensor) -> Tensor:
    """The three principal components of descriptors as colours from 0 to 1, (B, 3, *S).

    They are those of all images of the batch together, so that the same descriptor has the same
    colour in each. One number a voxel is drawn in grey.

    Args:
        features: (B, C, *S).
    """
    flat = features.detach().cpu().double().movedim(1, -1).flatten(0, -2)
    some = flat[:: max(1, len(flat) // SEEN)]
    mean = some.mean(0)
    # in ascending order; the sign of a direction is nobody's, so that its largest entry decides
    _, axes = torch.linalg.eigh((some - mean).T @ (some - mean))
    axes = axes.flip(1)[:, :3]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    found = (flat - mean) @ axes
    ends = ((some - mean) @ axes).quantile(torch.tensor([LOW, HIGH]).double(), 0)
    found = ((found - ends[0]) / (ends[1] - ends[0]).clamp_min(1e-12)).clamp(0, 1)
    if found.shape[1] < 3:
        found = found[:, [0, -1, -1] if found.shape[1] == 2 else [0, 0, 0]]
    shape = (len(features), *features.shape[2:], 3)
    return found.float().reshape(shape).movedim(-1, 1)

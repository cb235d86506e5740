"""Flow: fields in voxels inside networks, what they carry along, and how alike places are."""

from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.kernels.update import exponential
from coincide.kernels.warp import warp

SQUARINGS = 5  # enough for 16 voxels at half a voxel a step


def flowed(velocity: Tensor) -> Tensor:
    """Displacement after unit time along a stationary velocity, both in voxels, (B, D, *S)."""
    dim = velocity.shape[1]
    return exponential(velocity.float(), np.eye(dim, dim + 1), np.eye(dim), SQUARINGS)


def carried(volume: Tensor, displacement: Tensor) -> Tensor:
    """What is at the displaced voxels, borders continued, (B, C, *S); always float32."""
    dim = displacement.shape[1]
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    return warp(volume.float(), displacement, index, scale, clamp=True)[0]


def correlations(one: Tensor, other: Tensor) -> Tensor:
    """Cosine between the features of each voxel and those of the 3ᴰ voxels around it in the other.

    Args:
        one: (B, C, *S).
        other: (B, C, *S).

    Returns:
        (B, 3ᴰ, *S); zero where there is no such voxel.
    """
    one, other = F.normalize(one, dim=1), F.normalize(other, dim=1)
    sizes = one.shape[2:]
    wide = F.pad(other, (1, 1) * len(sizes))
    found = []
    for start in product(range(3), repeat=len(sizes)):
        box = [slice(a, a + n) for a, n in zip(start, sizes, strict=True)]
        found.append((one * wide[(slice(None), slice(None), *box)]).sum(1))
    return torch.stack(found, 1)

"""Overlap of label maps under a displacement, one label after the other, with torch operations."""

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from coincide.kernels.warp.torch import warp
from coincide.space.shapes import Field, Volume

GRADIENTS = {"label_sums": ("field", "mask")}


def label_sums(
    fixed: Shaped[Tensor, "B 1 *S"],
    moving: Shaped[Tensor, "B 1 *M"],
    field: Field,
    mask: Volume,
    index: np.ndarray,
    scale: np.ndarray,
    count: int,
) -> Tensor:
    """Sums (B, 3, count); see `coincide.kernels.labels`."""
    sums = []
    for label in range(count):
        one = (fixed == label).to(field.dtype)
        other, inside = warp((moving == label).to(field.dtype), field, index, scale)
        weight = mask.to(field.dtype) * inside
        terms = weight * one, weight * other, weight * one * other
        sums.append(torch.stack([t.flatten(1).sum(1) for t in terms], 1))
    return torch.stack(sums, 2).double()

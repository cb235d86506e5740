"""Self-similarity of features with torch operations."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.kernels.structure import SLOPE, Squeeze, pairs

GRADIENTS = {
    "self_similarity": ("features", "floor"),
    "structure": ("features", "floor", "first", "first_bias", "second", "second_bias"),
}


def self_similarity(
    features: Tensor, floor: Tensor, dilations: tuple[int, ...], shared: bool
) -> Tensor:
    """(B, C L 12, *S); see `coincide.kernels.structure`."""
    shape = features.shape[2:]
    volume = features.reshape(*features.shape[:2], *(1,) * (3 - len(shape)), *shape)
    margin = max(dilations)
    wide = F.pad(volume, (margin,) * 6, mode="replicate")
    offsets, first, second = pairs(dilations)
    # (B, C, 6 L, X, Y, Z)
    moved = torch.stack([part(wide, margin + o, volume.shape[2:]) for o in offsets], 2)
    squares = (moved[:, :, first] - moved[:, :, second]).square()
    squares = squares.unflatten(2, (len(dilations), -1))
    more = squares - squares.amin(3, keepdim=True)
    spread = more.mean((1, 2, 3) if shared else 3, keepdim=True)
    spread = spread + floor.view(-1, 1, 1, 1, 1, 1)
    return (-more / spread).exp().flatten(1, 3).reshape(len(features), -1, *shape)


def part(volume: Tensor, start: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    """A box of a volume, as a view."""
    for axis, (first, n) in enumerate(zip(start.tolist(), shape, strict=True), start=2):
        volume = volume.narrow(axis, first, n)
    return volume


def structure(
    features: Tensor, floor: Tensor, dilations: tuple[int, ...], squeeze: Squeeze, shared: bool
) -> Tensor:
    """(B, O, *S); see `coincide.kernels.structure`."""
    first, first_bias, second, second_bias = squeeze
    alike = self_similarity(features, floor, dilations, shared).movedim(1, -1)
    hidden = F.leaky_relu(F.linear(alike, first, first_bias), SLOPE)
    return F.normalize(F.linear(hidden, second, second_bias), dim=-1).movedim(-1, 1)

"""Squares: the force of a mean squared difference of features, without warping them one by one."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.native import squares as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.space.shapes import Field, Volume


@dataclass(frozen=True, eq=False)
class Packed:
    """Feature images whose features lie side by side in memory.

    Args:
        values: (B, X, Y, Z, C), C filled up with zeros to a multiple of eight.
        weight: (B, X, Y, Z) where they count.
        channels: Number of features.
        masked: Whether some weight is not one.
    """

    values: np.ndarray
    weight: np.ndarray
    channels: int
    masked: bool


def packed(volume: Volume, mask: Tensor | None) -> Packed:
    """Features (B, C, *S) and their mask (B, 1, *S), on the CPU, as `force` wants them."""
    source = lifted(volume)
    channels = source.shape[1]
    wanted = -(-channels // native.LANES) * native.LANES
    values = np.zeros((len(source), *source.shape[2:], wanted), source.dtype)
    values[..., :channels] = np.moveaxis(source, 1, -1)
    if mask is None:
        weight = np.ones((len(source), *source.shape[2:]), source.dtype)
    else:
        weight = lifted(mask.to(volume.dtype))[:, 0]
    return Packed(values, weight, channels, mask is not None)


def force(fixed: Packed, moving: Packed, field: Field, metric: np.ndarray, *, out: Field) -> float:
    r"""Mean squared difference of displaced features, and its steepest descent.

    $$-\frac{2}{C\,|\Omega|}\; \text{metric} \sum_c m\, (M_c(x + u) - F_c)\, \nabla M_c(x + u)$$

    Args:
        fixed: Features where they stay.
        moving: Features on the same grid, sampled linearly at displaced voxels.
        field: u, (B, D, *S), voxels; what it moves out of the grid does not count.
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        out: Receives the force, (B, D, *S), voxels.

    Returns:
        The mean over pairs; where nothing overlaps the mean of F².
    """
    moved = lifted_field(field)
    target = lifted(out) if out.shape[1] == 3 else np.empty_like(moved)
    still = np.eye(3, 4, dtype=moved.dtype)
    value = np.zeros((native.CHUNKS, 2))
    dim, total = field.shape[1], 0.0
    for b in range(len(moved)):
        images = fixed.values[b], moving.values[b], fixed.weight[b], moving.weight[b]
        native.squares(*images, moving.masked, moved[b], still, value, target[b])
        mass = float(value[:, 1].sum()) * fixed.channels
        if mass > 0:
            total += float(value[:, 0].sum()) / mass
            scale = lifted_matrix(metric * 2 / mass, moved.dtype)
            native.scaled(target[b], scale)
        else:
            total += float((fixed.values[b] ** 2).sum()) / fixed.weight[b].size / fixed.channels
    if dim < 3:
        out.copy_(torch.from_numpy(target[:, 3 - dim :].reshape(field.shape)))
    return total / len(moved)

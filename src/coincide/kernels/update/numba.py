"""The steps of the compositional update on the CPU."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, write
from coincide.kernels.update import loops
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"force": (), "lengths": (), "compose": ()}


def force(gradient: Volume, warped: Volume, metric: np.ndarray, out: Field) -> Field:
    """Force that lowers the cost; see `coincide.kernels.update`."""
    target = as_3d_field(out)
    matrix = as_3d_matrix(metric, target.dtype)
    for g, w, t in zip(as_3d(gradient), as_3d(warped), target, strict=True):
        loops.force(g, w, matrix, t)
    write(target, out)
    return out


def lengths(field: Field, metric: np.ndarray) -> PerPair:
    """Largest length of a vector in the field of each pair, (B,)."""
    array = as_3d_field(field)
    rows = np.empty((len(array), array.shape[2]), array.dtype)
    matrix = as_3d_matrix(metric, array.dtype)
    for one, row in zip(array, rows, strict=True):
        loops.largest(one, matrix, row)
    return torch.from_numpy(np.sqrt(np.maximum(rows.max(1), 0)))


def compose(field: Field, update: Field, step: float | Tensor, out: Field) -> Field:
    """First-order composition."""
    target = as_3d_field(out)
    steps = np.broadcast_to(np.asarray(step, target.dtype), len(target))
    for u, w, s, t in zip(as_3d_field(field), as_3d_field(update), steps, target, strict=True):
        loops.compose(u, w, s, t)
    write(target, out)
    return out

"""Update: the three steps between a cost's slope and a moved displacement field.

Fields are in voxels of their own grid; a metric (D, D) turns voxels into millimetres.
"""

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.kernels.native import update as native
from coincide.kernels.native.jit import lifted, lifted_matrix
from coincide.space.shapes import Field, Volume


def pull(slope: Volume, warped: Volume, metric: np.ndarray, *, out: Field) -> Field:
    """Steepest descent of a cost under small compositions, -metric · Σ_c slope_c ∇warped_c.

    Args:
        slope: Derivative of the cost with respect to `warped`, (B, C, *S).
        warped: Warped image, (B, C, *S).
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        out: Receives the force, (B, D, *S), voxels.
    """
    if warped.device.type != "cpu" or warped.dim() != 5:
        return backend(warped, "update").pull(slope, warped, metric, out=out)
    target, m = lifted(out), lifted_matrix(metric, lifted(out).dtype)
    for b, (s, w) in enumerate(zip(lifted(slope), lifted(warped), strict=True)):
        native.pull(s, w, m, target[b])
    return out


def largest(field: Field, metric: np.ndarray) -> float:
    """Largest length of a vector in the field, in mm for `metric` the squared spacing."""
    if field.device.type != "cpu" or field.dim() != 5:
        size = backend(field, "update").largest(field, metric)
        return float(size.clamp_min(0).sqrt())
    array = lifted(field)
    rows = np.empty((len(array), array.shape[2]), array.dtype)
    m = lifted_matrix(metric, array.dtype)
    for b in range(len(array)):
        native.largest(array[b], m, rows[b])
    return float(np.sqrt(max(rows.max(), 0)))


def compose(field: Field, update: Field, step: float, *, out: Field) -> Field:
    """U + s·w + s·(w·∇)u: `field` after a small `update` times `step`, to first order."""
    if field.device.type != "cpu" or field.dim() != 5:
        return backend(field, "update").compose(field, update, step, out=out)
    target = lifted(out)
    for b, (u, w) in enumerate(zip(lifted(field), lifted(update), strict=True)):
        native.compose(u, w, u.dtype.type(step), target[b])
    return out


def exponential(velocity: Field, index: np.ndarray, scale: np.ndarray, squarings: int) -> Tensor:
    """Displacement at unit time along a stationary velocity: scaling and squaring.

    Args:
        velocity: (B, D, *S), any unit that `scale` turns into voxels.
        index: See `coincide.kernels.warp`; here the identity.
        scale: The same; here from mm to voxels.
        squarings: Number of self-compositions.

    Returns:
        (B, D, *S), the unit of `velocity`; differentiable.
    """
    from coincide.kernels.warp import warp

    field = velocity / 2**squarings
    for _ in range(squarings):
        field = field + warp(field, field, index, scale, clamp=True)[0]
    return field

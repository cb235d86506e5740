"""Update: the steps between the gradient of a cost and a moved displacement field.

Fields are in voxels of their own grid; a metric (D, D) turns voxels into millimetres. What writes
to `out` gives no gradient.
"""

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.kernels.warp import warp
from coincide.space.shapes import Field, PerPair, Volume


def force(gradient: Volume, warped: Volume, metric: np.ndarray, *, out: Field) -> Field:
    """Steepest descent of a cost under small compositions, -metric · Σ_c gradient_c ∇warped_c.

    Args:
        gradient: Derivative of the cost with respect to `warped`, (B, C, *S).
        warped: Warped image, (B, C, *S).
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        out: Receives the force, (B, D, *S), voxels.
    """
    run = backend("update.force", {"warped": warped, "gradient": gradient})
    return run(gradient, warped, metric, out)


def lengths(field: Field, metric: np.ndarray) -> PerPair:
    """Largest length of a vector in the field of each pair, (B,), in mm.

    Args:
        field: (B, D, *S), voxels.
        metric: (D, D) symmetric; the grid's squared spacing.
    """
    return backend("update.lengths", {"field": field})(field, metric)


def largest(field: Field, metric: np.ndarray) -> float:
    """The largest of `lengths`, as a plain number without gradient."""
    return float(lengths(field.detach(), metric).max())


def compose(field: Field, update: Field, step: float | Tensor, *, out: Field) -> Field:
    """U + s·w + s·(w·∇)u: `field` after a small `update` times `step`, to first order.

    Args:
        field: u, (B, D, *S), voxels.
        update: w, (B, D, *S), voxels.
        step: s, one number or one for each pair (B,).
        out: Receives the result; neither of the fields.
    """
    run = backend("update.compose", {"field": field, "update": update})
    return run(field, update, step, out)


def exponential(velocity: Field, index: np.ndarray, scale: np.ndarray, squarings: int) -> Field:
    """Displacement at unit time along a stationary velocity: scaling and squaring.

    Args:
        velocity: (B, D, *S), any unit that `scale` turns into voxels.
        index: See `coincide.kernels.warp`; here the identity.
        scale: The same; here from mm to voxels.
        squarings: Number of self-compositions.

    Returns:
        (B, D, *S), the unit of `velocity`; differentiable.
    """
    field = velocity / 2**squarings
    for _ in range(squarings):
        # the field after itself flows for twice the time; zeros beyond its border would tear it
        field = field + warp(field, field, index, scale, clamp=True)[0]
    return field

"""Warp: linear sampling of a volume at displaced voxels, with its gradients."""

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend
from coincide.space.shapes import Field, Volume


def warp(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    *,
    shape: tuple[int, ...] | None = None,
    clamp: bool = False,
    spans: np.ndarray | None = None,
    out: tuple[Volume, Volume] | None = None,
) -> tuple[Volume, Volume]:
    """Sample `volume` linearly at the positions index · (voxel, 1) + scale · field.

    A position counts as inside up to half a voxel beyond the outermost centres, where the border
    value continues; this is ITK's rule.

    Args:
        volume: (B or 1, C, *M) values.
        field: (B, D, *S) displacement, in any unit that `scale` turns into voxels of `volume`;
            None: no displacement, then `shape` says which voxels.
        index: (D, D+1) from a voxel of the result to a voxel of `volume`.
        scale: (D, D) from a displacement to voxels of `volume`.
        shape: *S where no field is given.
        clamp: Continue the border value everywhere outside instead of giving zero.
        spans: What is wanted of each row, see `coincide.kernels.spans`; the rest may be left
            zero and counted as inside. None: everything.
        out: Where the results are written, without gradient.

    Returns:
        The samples (B, C, *S) and where they are inside `volume` (B, 1, *S), 0 or 1.
        Differentiable in `volume` and `field`.
    """
    if field is None and shape is None:
        raise ValueError("without a displacement, `shape` must say which voxels are wanted")
    if field is not None and volume.shape[0] != field.shape[0]:
        batch = max(volume.shape[0], field.shape[0])
        volume = volume.expand(batch, *volume.shape[1:])
        field = field.expand(batch, *field.shape[1:])
    if field is not None:
        # one number type for the whole kernel, that of the samples
        field = field.to(volume.dtype)
    tensors = {"volume": volume, "field": field}
    if out is not None:
        run = backend("warp.warp_into", tensors)
        return run(volume, field, index, scale, shape, clamp, spans, out)
    return backend("warp.warp", tensors)(volume, field, index, scale, shape, clamp, spans)


def force_along(
    gradient: Volume,
    volume: Volume,
    field: Field,
    metric: np.ndarray,
    *,
    spans: np.ndarray | None = None,
    out: Field,
) -> Field:
    """Steepest descent of a cost under changes of a displacement, -metric · Σ_c gradient_c g_c.

    Here g_c is the gradient of `volume` at the displaced voxels, where `warp` sampled it.

    Args:
        gradient: Derivative of the cost with respect to the samples, (B, C, *S).
        volume: What was sampled, (B, C, *M).
        field: (B, D, *S), voxels of `volume`, which are those of the samples.
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        spans: What of the gradient is not zero, see `coincide.kernels.spans`; None: everything.
        out: Receives the force, (B, D, *S), voxels.
    """
    tensors = {"volume": volume, "gradient": gradient, "field": field}
    return backend("warp.force_along", tensors)(gradient, volume, field, metric, spans, out)


def warp_linear(
    volume: Volume, index: Tensor, shape: tuple[int, ...], *, clamp: bool = False
) -> tuple[Volume, Volume]:
    """Sample `volume` linearly at the positions index · (voxel, 1), as `warp` does.

    Args:
        volume: (B, C, *M) values.
        index: (D, D+1) from a voxel of the result to a voxel of `volume`, on any device.
        shape: *S of the result.
        clamp: Continue the border value everywhere outside instead of giving zero.

    Returns:
        The samples (B, C, *S) and where they are inside `volume` (B, 1, *S), 0 or 1.
        Differentiable in `volume` and `index`.
    """
    run = backend("warp.warp_linear", {"volume": volume, "index": index})
    return run(volume, index, shape, clamp)

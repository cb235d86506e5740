"""Warp: linear sampling of a volume at displaced voxels, with its gradients."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.backend import backend, compiles
from coincide.kernels.native import warp as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.kernels.spans import whole
from coincide.space.grid import applied
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
        out: Where the results may be written, without gradient.

    Returns:
        The samples (B, C, *S) and where they are inside `volume` (B, 1, *S), 0 or 1.
        Differentiable in `volume` and `field`.
    """
    if field is None:
        assert shape is not None
        if not volume.requires_grad and volume.device.type == "cpu":
            return _resample(volume, index, shape, clamp)
        field = volume.new_zeros(volume.shape[0], len(shape), *shape)
    if volume.shape[0] != field.shape[0]:
        batch = max(volume.shape[0], field.shape[0])
        volume = volume.expand(batch, *volume.shape[1:])
        field = field.expand(batch, *field.shape[1:])
    field = field.to(volume.dtype)
    if volume.device.type == "cpu" and out is not None:
        return _sampled(volume, field, index, scale, clamp, spans, *out)
    if volume.device.type == "cpu":
        return _Warp.apply(volume, field, index, scale, clamp, spans)  # type: ignore[return-value]
    return backend(volume, "warp").warp(volume, field, index, scale, clamp)


def pull_along(
    slope: Volume,
    volume: Volume,
    field: Field,
    metric: np.ndarray,
    *,
    spans: np.ndarray | None = None,
    out: Field,
) -> Field:
    """Steepest descent of a cost under changes of a displacement, -metric · Σ_c slope_c g_c.

    Here g_c is the gradient of `volume` at the displaced voxels, where `warp` sampled it.

    Args:
        slope: Derivative of the cost with respect to the samples, (B, C, *S).
        volume: What was sampled, (B, C, *M).
        field: (B, D, *S), voxels of `volume`, which are those of the samples.
        metric: (D, D) symmetric; inverse of the grid's squared spacing.
        spans: What of the slope is not zero, see `coincide.kernels.spans`; None: everything.
        out: Receives the force, (B, D, *S), voxels.
    """
    dim = field.shape[1]
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    if volume.device.type != "cpu" or dim < 3:
        moved = field.detach().requires_grad_()
        with torch.enable_grad():
            data, _ = warp(volume.detach(), moved, index, scale)
        (toward,) = torch.autograd.grad(data, moved, slope)
        return torch.mul(applied(metric, toward), -1, out=out)
    _turned(slope, volume, field, (index, scale, False), -metric, spans, lifted(out))
    return out


def warp_linear(
    volume: Volume, index: Tensor, shape: tuple[int, ...], *, clamp: bool = False
) -> tuple[Volume, Volume]:
    """Sample `volume` linearly at the positions index · (voxel, 1), as `warp` does.

    Args:
        volume: (B, C, *M) values.
        index: (D, D+1) from a voxel of the result to a voxel of `volume`; may need its gradient.
        shape: *S of the result.
        clamp: Continue the border value everywhere outside instead of giving zero.

    Returns:
        The samples (B, C, *S) and where they are inside `volume` (B, 1, *S), 0 or 1.
        Differentiable in `volume` and `index`.
    """
    if volume.device.type == "cpu" and not volume.requires_grad:
        return _Linear.apply(volume, index, shape, clamp)  # type: ignore[return-value]
    if compiles(volume) and not volume.requires_grad:
        return backend(volume, "warp").warp_linear(volume, index, shape, clamp)
    dim, index = len(shape), index.to(volume.device)
    axes = [torch.arange(n, dtype=index.dtype, device=index.device) for n in shape]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    field = (index[:, :-1] @ voxel + index[:, -1:]).reshape(1, dim, *shape)
    return warp(volume, field, np.zeros((dim, dim + 1)), np.eye(dim), clamp=clamp)


def _sampled(
    volume: Volume,
    field: Field,
    index: np.ndarray,
    scale: np.ndarray,
    clamp: bool,
    spans: np.ndarray | None,
    out: Volume,
    valid: Volume,
) -> tuple[Volume, Volume]:
    source, moved = lifted(volume), lifted_field(field)
    target, known = lifted(out), lifted(valid)
    a, s = lifted_matrix(index, source.dtype), lifted_matrix(scale, source.dtype)
    keep, wanted = source.dtype.type(clamp), whole(target.shape[2:]) if spans is None else spans
    for b in range(len(source)):
        native.warp(source[b], moved[b], a, s, keep, wanted, target[b], known[b, 0])
    return out, valid


def _turned(
    slope: Volume,
    volume: Volume,
    field: Field,
    geometry: tuple[np.ndarray, np.ndarray, bool],
    turn: np.ndarray,
    spans: np.ndarray | None,
    out: np.ndarray,
) -> None:
    """Turn · slope · the derivative of the samples by their position, into (B, 3, X, Y, Z)."""
    source, moved, grad = lifted(volume), lifted_field(field), lifted(slope)
    index, scale, turn = (lifted_matrix(m, source.dtype) for m in (*geometry[:2], turn))
    keep, wanted = source.dtype.type(geometry[2]), whole(grad.shape[2:]) if spans is None else spans
    for b in range(len(source)):
        where = moved[b], index, scale, keep, grad[b], turn, wanted, out[b]
        native.field_gradient(source[b], *where)


def _resample(
    volume: Volume, index: np.ndarray, shape: tuple[int, ...], clamp: bool
) -> tuple[Volume, Volume]:
    out = volume.new_empty(*volume.shape[:2], *shape)
    valid = volume.new_empty(volume.shape[0], 1, *shape)
    source, target, known = lifted(volume), lifted(out), lifted(valid)
    matrix = lifted_matrix(index, source.dtype)
    still = _still(target)
    keep, wanted = source.dtype.type(clamp), whole(target.shape[2:])
    for b in range(len(source)):
        native.warp(source[b], still, matrix, matrix, keep, wanted, target[b], known[b, 0])
    return out, valid


def _still(target: np.ndarray) -> np.ndarray:
    """A displacement of zero for every voxel of (B, C, X, Y, Z), without memory of its own."""
    return np.broadcast_to(np.zeros(1, target.dtype), (3, *target.shape[2:]))


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, index)
        ctx.clamp = clamp
        out, valid = _resample(volume, index.detach().numpy(), shape, clamp)
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, index = ctx.saved_tensors
        source, grad = lifted(volume), lifted(gradients[0])
        matrix = lifted_matrix(index.detach().numpy(), source.dtype)
        keep, still, dim = source.dtype.type(ctx.clamp), _still(grad), len(index)
        rows = np.empty((grad.shape[2] * grad.shape[3], 3, 4))
        total = np.zeros((3, 4))
        for b in range(len(source)):
            native.index_gradient(source[b], still, matrix, keep, grad[b], rows)
            total += rows.sum(0)
        to_index = torch.as_tensor(total[3 - dim :, 3 - dim :], dtype=index.dtype)
        return None, to_index, None, None


class _Warp(Function):
    @staticmethod
    def forward(
        ctx: Any,
        volume: Volume,
        field: Field,
        index: np.ndarray,
        scale: np.ndarray,
        clamp: bool,
        spans: np.ndarray | None,
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, field)
        ctx.geometry = index, scale, clamp
        out = volume.new_empty(*volume.shape[:2], *field.shape[2:])
        valid = volume.new_empty(volume.shape[0], 1, *field.shape[2:])
        _sampled(volume, field, index, scale, clamp, spans, out, valid)
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, field = ctx.saved_tensors
        index, scale, clamp = ctx.geometry
        to_volume = to_field = None
        if ctx.needs_input_grad[0]:
            moved, grad = lifted_field(field), lifted(gradients[0])
            a, s = lifted_matrix(index, grad.dtype), lifted_matrix(scale, grad.dtype)
            to_volume = torch.zeros_like(volume, memory_format=torch.contiguous_format)
            spread, keep = lifted(to_volume), grad.dtype.type(clamp)
            for b in range(len(spread)):
                native.volume_gradient(grad[b], moved[b], a, s, keep, spread[b])
        if ctx.needs_input_grad[1]:
            dim = field.shape[1]
            result = np.empty_like(lifted_field(field))
            _turned(gradients[0], volume, field, ctx.geometry, scale.T, None, result)
            to_field = torch.from_numpy(result[:, 3 - dim :].reshape(field.shape))
        return to_volume, to_field, None, None, None, None

"""Linear sampling at displaced voxels on the CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix, from_3d_field, write
from coincide.kernels.spans import whole
from coincide.kernels.warp import loops
from coincide.space.shapes import Field, Volume

GRADIENTS = {
    "warp": ("volume", "field"),
    "warp_into": (),
    "warp_linear": ("volume", "index"),
    "force_along": (),
}


def warp(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...] | None = None,
    clamp: bool = False,
    spans: np.ndarray | None = None,
) -> tuple[Volume, Volume]:
    """Samples (B, C, *S) and where they are inside; see `coincide.kernels.warp`."""
    return _Warp.apply(volume, field, index, scale, shape, clamp, spans)  # type: ignore[return-value]


def warp_into(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...] | None,  # noqa: ARG001 - that of `out`
    clamp: bool,
    spans: np.ndarray | None,
    out: tuple[Volume, Volume],
) -> tuple[Volume, Volume]:
    """The same, written to `out`."""
    target, known = map(as_3d, out)
    _sample(volume, field, (index, scale, clamp), spans, target, known)
    write(target, out[0])
    write(known, out[1])
    return out


def warp_linear(
    volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool = False
) -> tuple[Volume, Volume]:
    """Samples at index · voxel and where they are inside."""
    return _Linear.apply(volume, index, shape, clamp)  # type: ignore[return-value]


def force_along(
    gradient: Volume,
    volume: Volume,
    field: Field,
    metric: np.ndarray,
    spans: np.ndarray | None,
    out: Field,
) -> Field:
    """Steepest descent under changes of the displacement, in `out`."""
    dim, target = field.shape[1], as_3d_field(out)
    # the field is in voxels of the volume itself
    geometry = np.eye(dim, dim + 1), np.eye(dim), False
    # minus: downhill
    _turned(gradient, volume, field, geometry, -metric, spans, target)
    write(target, out)
    return out


def _sample(
    volume: Volume,
    field: Field | None,
    geometry: tuple[np.ndarray, np.ndarray, bool],
    spans: np.ndarray | None,
    target: np.ndarray,
    known: np.ndarray,
) -> None:
    source = as_3d(volume)
    moved = _still(target) if field is None else as_3d_field(field)
    index, scale = (as_3d_matrix(m, source.dtype) for m in geometry[:2])
    # the weight, 0 or 1, of what is sampled outside
    keep, wanted = source.dtype.type(geometry[2]), spans
    if wanted is None:
        wanted = whole(target.shape[2:])
    for b in range(len(source)):
        loops.warp(source[b], moved[b], index, scale, keep, wanted, target[b], known[b, 0])


def _turned(
    gradient: Volume,
    volume: Volume,
    field: Field,
    geometry: tuple[np.ndarray, np.ndarray, bool],
    turn: np.ndarray,
    spans: np.ndarray | None,
    out: np.ndarray,
) -> None:
    """Turn · gradient · the derivative of the samples by their position, into (B, 3, X, Y, Z)."""
    source, moved, grad = as_3d(volume), as_3d_field(field), as_3d(gradient)
    index, scale, turn = (as_3d_matrix(m, source.dtype) for m in (*geometry[:2], turn))
    keep, wanted = source.dtype.type(geometry[2]), whole(grad.shape[2:]) if spans is None else spans
    for b in range(len(source)):
        where = moved[b], index, scale, keep, grad[b], turn, wanted, out[b]
        loops.field_gradient(source[b], *where)


def _still(target: np.ndarray) -> np.ndarray:
    """A displacement of zero for every voxel of (B, C, X, Y, Z), without memory of its own."""
    return np.broadcast_to(np.zeros(1, target.dtype), (len(target), 3, *target.shape[2:]))


def _spread(
    grad: np.ndarray,
    moved: np.ndarray,
    index: np.ndarray,
    scale: np.ndarray,
    clamp: bool,
    like: Volume,
) -> Volume:
    """Gradient with respect to the volume, (B, C, *M)."""
    result = torch.zeros_like(like, memory_format=torch.contiguous_format)
    target, keep = as_3d(result), grad.dtype.type(clamp)
    for b in range(len(target)):
        loops.volume_gradient(grad[b], moved[b], index, scale, keep, target[b])
    return result


class _Warp(Function):
    @staticmethod
    def forward(
        ctx: Any,
        volume: Volume,
        field: Field | None,
        index: np.ndarray,
        scale: np.ndarray,
        shape: tuple[int, ...] | None,
        clamp: bool,
        spans: np.ndarray | None,
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, field)
        ctx.geometry = index, scale, clamp
        size = tuple(shape or ()) if field is None else tuple(field.shape[2:])
        out = volume.new_empty(*volume.shape[:2], *size)
        valid = volume.new_empty(volume.shape[0], 1, *size)
        _sample(volume, field, ctx.geometry, spans, as_3d(out), as_3d(valid))
        # it jumps from 0 to 1: its derivative is zero wherever it has one
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, field = ctx.saved_tensors
        index, scale, clamp = ctx.geometry
        to_volume = to_field = None
        if ctx.needs_input_grad[0]:
            grad = as_3d(gradients[0])
            moved = _still(grad) if field is None else as_3d_field(field)
            a, s = as_3d_matrix(index, grad.dtype), as_3d_matrix(scale, grad.dtype)
            to_volume = _spread(grad, moved, a, s, clamp, volume)
        if field is not None and ctx.needs_input_grad[1]:
            result = np.empty_like(as_3d_field(field))
            # positions follow the field by `scale`, so slopes come back to it by the transpose
            _turned(gradients[0], volume, field, ctx.geometry, scale.T, None, result)
            to_field = from_3d_field(result, field.shape)
        return to_volume, to_field, None, None, None, None, None


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, index)
        ctx.clamp = clamp
        matrix = index.detach().cpu().numpy()
        out = volume.new_empty(*volume.shape[:2], *shape)
        valid = volume.new_empty(volume.shape[0], 1, *shape)
        _sample(volume, None, (matrix, matrix, clamp), None, as_3d(out), as_3d(valid))
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, index = ctx.saved_tensors
        source, grad = as_3d(volume), as_3d(gradients[0])
        matrix = as_3d_matrix(index.detach().cpu().numpy(), source.dtype)
        keep, still, dim = source.dtype.type(ctx.clamp), _still(grad), len(index)
        to_volume = to_index = None
        if ctx.needs_input_grad[0]:
            to_volume = _spread(grad, still, matrix, matrix, ctx.clamp, volume)
        if ctx.needs_input_grad[1]:
            rows = np.empty((grad.shape[2] * grad.shape[3], 3, 4))
            # the map is in double precision, and its gradient is a sum over all voxels
            total = np.zeros((3, 4))
            for b in range(len(source)):
                loops.index_gradient(source[b], still[b], matrix, keep, grad[b], rows)
                total += rows.sum(0)
            to_index = torch.as_tensor(total[3 - dim :, 3 - dim :]).to(index)
        return to_volume, to_index, None, None

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
from coincide.space.shapes import Field, Volume


def warp(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    *,
    shape: tuple[int, ...] | None = None,
    clamp: bool = False,
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
    if volume.device.type == "cpu":
        return _Warp.apply(volume, field, index, scale, clamp)  # type: ignore[return-value]
    return backend(volume, "warp").warp(volume, field, index, scale, clamp)


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


def _resample(
    volume: Volume, index: np.ndarray, shape: tuple[int, ...], clamp: bool
) -> tuple[Volume, Volume]:
    out = volume.new_empty(*volume.shape[:2], *shape)
    valid = volume.new_empty(volume.shape[0], 1, *shape)
    source, target, known = lifted(volume), lifted(out), lifted(valid)
    matrix = lifted_matrix(index, source.dtype)
    still = _still(target)
    keep = source.dtype.type(clamp)
    for b in range(len(source)):
        native.warp(source[b], still, matrix, matrix, keep, target[b], known[b, 0])
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
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, field)
        ctx.geometry = index, scale, clamp
        out = volume.new_empty(*volume.shape[:2], *field.shape[2:])
        valid = volume.new_empty(volume.shape[0], 1, *field.shape[2:])
        source, moved = lifted(volume), lifted_field(field)
        target, known = lifted(out), lifted(valid)
        a, s = lifted_matrix(index, source.dtype), lifted_matrix(scale, source.dtype)
        for b in range(len(source)):
            native.warp(source[b], moved[b], a, s, source.dtype.type(clamp), target[b], known[b, 0])
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, field = ctx.saved_tensors
        index, scale, clamp = ctx.geometry
        source, moved, grad = lifted(volume), lifted_field(field), lifted(gradients[0])
        a, s = lifted_matrix(index, source.dtype), lifted_matrix(scale, source.dtype)
        keep = source.dtype.type(clamp)
        to_volume = to_field = None
        if ctx.needs_input_grad[0]:
            to_volume = torch.zeros_like(volume, memory_format=torch.contiguous_format)
            spread = lifted(to_volume)
            for b in range(len(source)):
                native.volume_gradient(grad[b], moved[b], a, s, keep, spread[b])
        if ctx.needs_input_grad[1]:
            result = np.empty_like(moved)
            for b in range(len(source)):
                native.field_gradient(source[b], moved[b], a, s, keep, grad[b], result[b])
            dim = field.shape[1]
            to_field = torch.from_numpy(result[:, 3 - dim :].reshape(field.shape))
        return to_volume, to_field, None, None, None

"""Linear sampling of a volume at displaced voxels, and its gradients, compiled by Triton."""

from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.triton_launch import SIZES, as_3d, blocks, launch, matrix_on
from coincide.kernels.warp.triton_position import locate, slopes, strides
from coincide.space.shapes import Field, Volume

GRADIENTS = {"warp": ("volume", "field"), "warp_linear": ("index",)}


@triton.jit(do_not_specialize=SIZES)
def sampled(
    volume,
    field,
    index,
    scale,
    out,
    valid,
    channels,
    X,
    Y,
    Z,
    I,
    J,
    K,
    CLAMP: tl.constexpr,
    DIM: tl.constexpr,
    MOVED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    voxels = I * J * K
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # a batch may hold more numbers than 32 bits can count
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    volume += b * channels * X * Y * Z
    out += b * channels * voxels
    field += b * DIM * voxels
    q, fx, fy, fz, _, _, _, near = locate(
        field, index, scale, X, Y, Z, I, J, K, p, inside, DIM, MOVED
    )
    sx, sy, sz = strides(X, Y, Z)
    tl.store(valid + b * voxels + p, near.to(fx.dtype), mask=inside)
    seen = inside if CLAMP else inside & near
    for _ in range(channels):
        v = volume + q
        a = tl.load(v, mask=seen, other=0.0)
        d = tl.load(v + sz, mask=seen, other=0.0)
        a += fz * (d - a)
        c = tl.load(v + sy, mask=seen, other=0.0)
        d = tl.load(v + sy + sz, mask=seen, other=0.0)
        c += fz * (d - c)
        a += fy * (c - a)
        e = tl.load(v + sx, mask=seen, other=0.0)
        d = tl.load(v + sx + sz, mask=seen, other=0.0)
        e += fz * (d - e)
        c = tl.load(v + sx + sy, mask=seen, other=0.0)
        d = tl.load(v + sx + sy + sz, mask=seen, other=0.0)
        c += fz * (d - c)
        e += fy * (c - e)
        tl.store(out + p, a + fx * (e - a), mask=inside)
        volume += X * Y * Z
        out += voxels


@triton.jit(do_not_specialize=SIZES)
def to_field(
    volume,
    field,
    index,
    scale,
    grad,
    out,
    channels,
    X,
    Y,
    Z,
    I,
    J,
    K,
    CLAMP: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    voxels = I * J * K
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    volume += b * channels * X * Y * Z
    grad += b * channels * voxels
    field += b * DIM * voxels
    out += b * DIM * voxels
    q, fx, fy, fz, mx, my, mz, near = locate(
        field, index, scale, X, Y, Z, I, J, K, p, inside, DIM, True
    )
    seen = inside if CLAMP else inside & near
    gx, gy, gz = slopes(volume, grad, channels, X, Y, Z, voxels, p, seen, q, fx, fy, fz)
    # a position held at the border does not follow the displacement
    gx, gy, gz = tl.where(mx, gx, 0.0), tl.where(my, gy, 0.0), tl.where(mz, gz, 0.0)
    for axis in tl.static_range(3 - DIM, 3):
        value = (
            tl.load(scale + axis) * gx
            + tl.load(scale + 3 + axis) * gy
            + tl.load(scale + 6 + axis) * gz
        )
        tl.store(out + (axis - 3 + DIM) * voxels + p, value, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def to_index(
    volume, index, grad, out, channels, X, Y, Z, I, J, K, CLAMP: tl.constexpr, BLOCK: tl.constexpr
):
    """One (3, 4) for each block, to be summed."""
    voxels = I * J * K
    block = tl.program_id(0)
    p = block * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    volume += b * channels * X * Y * Z
    grad += b * channels * voxels
    q, fx, fy, fz, mx, my, mz, near = locate(
        index, index, index, X, Y, Z, I, J, K, p, inside, 3, False
    )
    seen = inside if CLAMP else inside & near
    gx, gy, gz = slopes(volume, grad, channels, X, Y, Z, voxels, p, seen, q, fx, fy, fz)
    row = p // K
    k = p - row * K
    i = row // J
    j = row - i * J
    out += (b * tl.num_programs(0) + block) * 12
    total = tl.where(mx, gx, 0.0)
    tl.store(out, tl.sum(total * i))
    tl.store(out + 1, tl.sum(total * j))
    tl.store(out + 2, tl.sum(total * k))
    tl.store(out + 3, tl.sum(total))
    total = tl.where(my, gy, 0.0)
    tl.store(out + 4, tl.sum(total * i))
    tl.store(out + 5, tl.sum(total * j))
    tl.store(out + 6, tl.sum(total * k))
    tl.store(out + 7, tl.sum(total))
    total = tl.where(mz, gz, 0.0)
    tl.store(out + 8, tl.sum(total * i))
    tl.store(out + 9, tl.sum(total * j))
    tl.store(out + 10, tl.sum(total * k))
    tl.store(out + 11, tl.sum(total))


@triton.jit(do_not_specialize=SIZES)
def to_volume(
    field,
    index,
    scale,
    grad,
    out,
    channels,
    X,
    Y,
    Z,
    I,
    J,
    K,
    CLAMP: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Every value is spread on the voxels it came from; blocks meet, so additions are atomic."""
    voxels = I * J * K
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    grad += b * channels * voxels
    out += b * channels * X * Y * Z
    field += b * DIM * voxels
    q, fx, fy, fz, _, _, _, near = locate(
        field, index, scale, X, Y, Z, I, J, K, p, inside, DIM, True
    )
    sx, sy, sz = strides(X, Y, Z)
    ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
    seen = inside if CLAMP else inside & near
    for _ in range(channels):
        g = tl.load(grad + p, mask=seen, other=0.0)
        v = out + q
        tl.atomic_add(v, g * ex * ey * ez, mask=seen, sem="relaxed")
        tl.atomic_add(v + sz, g * ex * ey * fz, mask=seen, sem="relaxed")
        tl.atomic_add(v + sy, g * ex * fy * ez, mask=seen, sem="relaxed")
        tl.atomic_add(v + sy + sz, g * ex * fy * fz, mask=seen, sem="relaxed")
        tl.atomic_add(v + sx, g * fx * ey * ez, mask=seen, sem="relaxed")
        tl.atomic_add(v + sx + sz, g * fx * ey * fz, mask=seen, sem="relaxed")
        tl.atomic_add(v + sx + sy, g * fx * fy * ez, mask=seen, sem="relaxed")
        tl.atomic_add(v + sx + sy + sz, g * fx * fy * fz, mask=seen, sem="relaxed")
        out += X * Y * Z
        grad += voxels


def warp(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...] | None = None,
    clamp: bool = False,
    spans: np.ndarray | None = None,  # noqa: ARG001 - everything is sampled
) -> tuple[Volume, Volume]:
    """Samples (B, C, *S) and where they are inside; see `coincide.kernels.warp`."""
    if field is None:
        assert shape is not None
        field = volume.new_zeros(len(volume), len(shape), *shape)
    return _Warp.apply(volume, field, index, scale, clamp)  # type: ignore[return-value]


def warp_linear(
    volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool = False
) -> tuple[Volume, Volume]:
    """Samples at index · voxel and where they are inside, differentiable in `index` alone."""
    return _Linear.apply(volume, index, shape, clamp)  # type: ignore[return-value]


def _run(
    volume: Volume, field: Tensor | None, index: Tensor, scale: Tensor, out: Volume, clamp: bool
) -> Volume:
    """Fill `out` (B, C, *S) and return where it is inside."""
    valid = torch.empty_like(out[:, :1], memory_format=torch.contiguous_format)
    source, target = as_3d(volume), as_3d(out)
    shape, dim = target.shape[2:], out.dim() - 2
    # any tensor: the kernel does not read it
    moved = source if field is None else field.detach().contiguous()
    arguments = source, moved, index, scale, target, valid, source.shape[1]
    sizes = *source.shape[2:], *shape
    launch(sampled, shape.numel(), len(out), *arguments, *sizes, clamp, dim, field is not None)
    return valid


class _Warp(Function):
    @staticmethod
    def forward(
        ctx: Any, volume: Volume, field: Field, index: np.ndarray, scale: np.ndarray, clamp: bool
    ) -> tuple[Volume, Volume]:
        ctx.save_for_backward(volume, field)
        ctx.geometry = matrix_on(index, volume), matrix_on(scale, volume), clamp
        out = volume.new_empty(*volume.shape[:2], *field.shape[2:])
        valid = _run(volume, field, *ctx.geometry[:2], out, clamp)
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, field = ctx.saved_tensors
        index, scale, clamp = ctx.geometry
        source, moved, grad = as_3d(volume), field.detach().contiguous(), as_3d(gradients[0])
        sizes = source.shape[1], *source.shape[2:], *grad.shape[2:], clamp, field.shape[1]
        voxels, batch = grad.shape[2:].numel(), len(grad)
        spread = result = None
        if ctx.needs_input_grad[0]:
            spread = torch.zeros_like(volume, memory_format=torch.contiguous_format)
            launch(to_volume, voxels, batch, moved, index, scale, grad, spread, *sizes)
        if ctx.needs_input_grad[1]:
            result = torch.empty_like(moved)
            launch(to_field, voxels, batch, source, moved, index, scale, grad, result, *sizes)
        return spread, result, None, None, None


class _Linear(Function):
    @staticmethod
    def forward(
        ctx: Any, volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool
    ) -> tuple[Volume, Volume]:
        dim = len(shape)
        lifting = torch.eye(3, 4, dtype=volume.dtype, device=volume.device)
        lifting[3 - dim :, 3 - dim :] = index.detach()
        ctx.save_for_backward(volume, lifting)
        ctx.geometry = clamp, dim, index.dtype, index.device
        out = volume.new_empty(*volume.shape[:2], *shape)
        valid = _run(volume, None, lifting, lifting, out, clamp)
        ctx.mark_non_differentiable(valid)
        return out, valid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        volume, index = ctx.saved_tensors
        clamp, dim, dtype, device = ctx.geometry
        source, grad = as_3d(volume), as_3d(gradients[0])
        voxels, batch = grad.shape[2:].numel(), len(grad)
        rows = grad.new_empty(batch * blocks(voxels), 3, 4)
        sizes = source.shape[1], *source.shape[2:], *grad.shape[2:], clamp
        launch(to_index, voxels, batch, source, index, grad, rows, *sizes)
        total = rows.double().sum(0)[3 - dim :, 3 - dim :]
        return None, total.to(device, dtype), None, None

"""Steps of the compositional update, compiled by Triton: force, largest move, composition."""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from coincide.kernels.triton_launch import SIZES, as_3d, blocks, constant, launch
from coincide.kernels.warp.triton_position import entry
from coincide.space.shapes import Field, PerPair, Volume

GRADIENTS = {"force": (), "lengths": (), "compose": ()}


@triton.jit
def difference(volume, p, at, n, step, inside):
    """Half of next minus previous voxel along one axis, border continued."""
    after = tl.load(volume + p + tl.where(at < n - 1, step, 0), mask=inside, other=0.0)
    before = tl.load(volume + p - tl.where(at > 0, step, 0), mask=inside, other=0.0)
    return (after - before) * 0.5


@triton.jit
def differences(volume, p, X, Y, Z, inside):
    """The same along three axes."""
    row = p // Z
    k = p - row * Z
    i = row // Y
    j = row - i * Y
    x = difference(volume, p, i, X, Y * Z, inside)
    y = difference(volume, p, j, Y, Z, inside)
    return x, y, difference(volume, p, k, Z, 1, inside)


@triton.jit(do_not_specialize=SIZES)
def forced(
    gradient, warped, metric, out, channels, X, Y, Z, DIM: tl.constexpr, BLOCK: tl.constexpr
):
    voxels = X * Y * Z
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    gradient += b * channels * voxels
    warped += b * channels * voxels
    out += b * DIM * voxels
    gx = tl.zeros((BLOCK,), out.dtype.element_ty)
    # Triton's values never change in place, so that one zero can begin all three
    gy, gz = gx, gx
    for _ in range(channels):
        s = tl.load(gradient + p, mask=inside, other=0.0)
        x, y, z = differences(warped, p, X, Y, Z, inside)
        gx -= s * x
        gy -= s * y
        gz -= s * z
        gradient += voxels
        warped += voxels
    # a metric (DIM, DIM), whose axes are the last of three
    for d in tl.static_range(DIM):
        row = metric + d * DIM + DIM - 1
        value = tl.load(row) * gz
        if DIM > 1:
            value += tl.load(row - 1) * gy
        if DIM > 2:
            value += tl.load(row - 2) * gx
        tl.store(out + d * voxels + p, value, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def longest(field, metric, out, voxels, DIM: tl.constexpr, BLOCK: tl.constexpr):
    """The largest u · metric · u of each block."""
    block = tl.program_id(0)
    p = block * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    field += b * DIM * voxels
    size = tl.zeros((BLOCK,), out.dtype.element_ty)
    for d in tl.static_range(DIM):
        u = tl.load(field + d * voxels + p, mask=inside, other=0.0)
        for e in tl.static_range(DIM):
            v = tl.load(field + e * voxels + p, mask=inside, other=0.0)
            size += tl.load(metric + d * DIM + e) * u * v
    tl.store(out + b * tl.num_programs(0) + block, tl.max(size))


@triton.jit(do_not_specialize=SIZES)
def composed(field, update, step, out, X, Y, Z, DIM: tl.constexpr, BLOCK: tl.constexpr):
    voxels = X * Y * Z
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    field += b * DIM * voxels
    update += b * DIM * voxels
    out += b * DIM * voxels
    s = tl.load(step + b)
    wx = entry(update, 0, DIM, voxels, p, inside)
    wy = entry(update, 1, DIM, voxels, p, inside)
    wz = entry(update, 2, DIM, voxels, p, inside)
    for _ in tl.static_range(DIM):
        u = tl.load(field + p, mask=inside, other=0.0)
        w = tl.load(update + p, mask=inside, other=0.0)
        x, y, z = differences(field, p, X, Y, Z, inside)
        tl.store(out + p, u + s * (w + wx * x + wy * y + wz * z), mask=inside)
        field += voxels
        update += voxels
        out += voxels


def force(gradient: Volume, warped: Volume, metric: np.ndarray, out: Field) -> Field:
    """Force that lowers the cost; see `coincide.kernels.update`."""
    g, w, target = as_3d(gradient), as_3d(warped), as_3d(out)
    sizes = w.shape[1], *w.shape[2:], out.shape[1]
    launch(forced, w.shape[2:].numel(), len(w), g, w, constant(metric, w), target, *sizes)
    return out


def lengths(field: Field, metric: np.ndarray) -> PerPair:
    """Largest length of a vector in the field of each pair, (B,); it stays on the device."""
    u = field.detach().contiguous()
    voxels = field.shape[2:].numel()
    rows = u.new_empty(len(u), blocks(voxels))
    launch(longest, voxels, len(u), u, constant(metric, u), rows, voxels, field.shape[1])
    return rows.amax(1).clamp_min(0).sqrt()


def compose(field: Field, update: Field, step: float | Tensor, out: Field) -> Field:
    """First-order composition."""
    u, w, target = as_3d(field), as_3d(update), as_3d(out)
    sizes = *u.shape[2:], field.shape[1]
    steps = torch.as_tensor(step, dtype=u.dtype, device=u.device).expand(len(u)).contiguous()
    launch(composed, u.shape[2:].numel(), len(u), u, w, steps, target, *sizes)
    return out

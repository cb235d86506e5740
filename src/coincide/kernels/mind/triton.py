"""Self-similarity descriptors from patch distances, compiled by Triton."""

import numpy as np
import torch
import triton
import triton.language as tl

from coincide.kernels.triton_launch import SIZES, as_3d, blocks, constant, launch
from coincide.space.shapes import Volume

GRADIENTS = {"descriptors": ()}


@triton.jit
def shifted(at, step, n):
    """Index at + step held inside n voxels."""
    return tl.minimum(tl.maximum(at + step, 0), n - 1)


@triton.jit(do_not_specialize=SIZES)
def squares(volume, offsets, out, channels, X, Y, Z, radius, BLOCK: tl.constexpr):
    """Sums along the last axis of (I(x + first) - I(x + second))², border continued.

    `offsets` are (channels, 6) voxels: three of the first patch, three of the second.
    """
    voxels = X * Y * Z
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    volume += b // channels * voxels
    offsets += b % channels * 6
    row = p // Z
    k = p - row * Z
    i = row // Y
    j = row - i * Y
    one = shifted(i, tl.load(offsets), X) * Y + shifted(j, tl.load(offsets + 1), Y)
    two = shifted(i, tl.load(offsets + 3), X) * Y + shifted(j, tl.load(offsets + 4), Y)
    az, bz = tl.load(offsets + 2), tl.load(offsets + 5)
    total = tl.zeros((BLOCK,), out.dtype.element_ty)
    for q in range(-radius, radius + 1):
        centre = shifted(k, q, Z)
        a = tl.load(volume + one * Z + shifted(centre, az, Z), mask=inside, other=0.0)
        c = tl.load(volume + two * Z + shifted(centre, bz, Z), mask=inside, other=0.0)
        total += (a - c) * (a - c)
    tl.store(out + b * voxels + p, total, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def summed(volume, share, out, voxels, n, inner, radius, BLOCK: tl.constexpr):
    """Sums along an axis of n voxels, `inner` apart, border continued, times one number."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(1).to(tl.int64) * voxels
    inside = p < voxels
    at = p // inner % n
    start = volume + base + p - at * inner
    total = tl.zeros((BLOCK,), out.dtype.element_ty)
    for q in range(-radius, radius + 1):
        total += tl.load(start + shifted(at, q, n) * inner, mask=inside, other=0.0)
    tl.store(out + base + p, total * tl.load(share), mask=inside)


@triton.jit
def reduced(distance, channels, voxels, p, inside):
    """Least and mean over the channels at each voxel."""
    least = tl.load(distance + p, mask=inside, other=0.0)
    total = least
    for _ in range(1, channels):
        distance += voxels
        d = tl.load(distance + p, mask=inside, other=0.0)
        least = tl.minimum(least, d)
        total += d
    return least, total / channels


@triton.jit(do_not_specialize=SIZES)
def spreads(distance, out, channels, voxels, BLOCK: tl.constexpr):
    """Sum over each block of the channel mean above the least."""
    block = tl.program_id(0)
    p = block * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    least, mean = reduced(distance + b * channels * voxels, channels, voxels, p, inside)
    tl.store(out + b * tl.num_programs(0) + block, tl.sum(mean - least))


@triton.jit(do_not_specialize=SIZES)
def described(distance, limits, channels, voxels, BLOCK: tl.constexpr):
    """In place: exp(-(D - min D) / V), V held between two limits of each pair."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    distance += b * channels * voxels
    least, mean = reduced(distance, channels, voxels, p, inside)
    low, high = tl.load(limits + 2 * b), tl.load(limits + 2 * b + 1)
    spread = tl.minimum(tl.maximum(mean - least, low), high)
    for _ in range(channels):
        d = tl.load(distance + p, mask=inside, other=0.0)
        tl.store(distance + p, tl.exp((least - d) / spread), mask=inside)
        distance += voxels


def descriptors(
    volume: Volume, first: np.ndarray, second: np.ndarray, radius: int, floor: float
) -> Volume:
    """Descriptors (B, C, *S); see `coincide.kernels.mind`."""
    source = as_3d(volume)
    batch, _, X, Y, Z = source.shape
    channels, voxels = len(first), X * Y * Z
    offsets = np.zeros((channels, 2, 3), np.int32)
    offsets[:, 0, 3 - first.shape[1] :] = first
    offsets[:, 1, 3 - first.shape[1] :] = second
    rx, ry, rz = (radius if n > 1 else 0 for n in (X, Y, Z))
    out = source.new_empty(batch, channels, *volume.shape[2:])
    # the last sum must not overwrite what it still reads
    rows = torch.empty_like(out)
    sizes = channels, X, Y, Z, rz
    launch(squares, voxels, batch * channels, source, constant(offsets, source), out, *sizes)
    one = source.new_full((1,), 1)
    launch(summed, voxels, batch * channels, out, one, rows, voxels, Y, Z, ry)
    share = source.new_full((1,), 1 / ((2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)))
    launch(summed, voxels, batch * channels, rows, share, out, voxels, X, Y * Z, rx)
    part = source.new_empty(batch, blocks(voxels))
    launch(spreads, voxels, batch, out, part, channels, voxels)
    # never zero, as it divides: of a flat image all descriptors become 1
    mean = (part.sum(1, dtype=torch.float64) / voxels).clamp_min(1e-12)
    limits = torch.stack([floor * mean, mean / floor], 1).to(out.dtype)
    launch(described, voxels, batch, out, limits, channels, voxels)
    return out

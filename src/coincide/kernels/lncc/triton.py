"""Local correlation in box windows and its gradient, compiled by Triton.

Sums over a window are taken an axis at a time; the first pass forms the products, the last one
turns the sums into the correlation, or into its gradient, so that neither is ever stored.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.triton_launch import SIZES, as_3d, blocks, launch
from coincide.space.shapes import Volume

GRADIENTS = {"decorrelation": ("warped",)}


@triton.jit(do_not_specialize=SIZES)
def products(fixed, warped, mask, out, channels, voxels, n, radius, BLOCK: tl.constexpr):
    """Sums along the last axis, of n voxels, of m, mF, mW, mFF, mWW and mFW, into (6, voxels)."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    fixed += b * voxels
    warped += b * voxels
    # the channels of a pair share its mask
    mask += b // channels * voxels
    out += b * 6 * voxels
    at = p % n
    # Triton's values never change in place, so that one zero can begin all six sums
    zero = tl.zeros((BLOCK,), out.dtype.element_ty)
    s, sf, sw, sff, sww, sfw = zero, zero, zero, zero, zero, zero
    for t in range(-radius, radius + 1):
        there = (p < voxels) & (at + t >= 0) & (at + t < n)
        m = tl.load(mask + p + t, mask=there, other=0.0)
        f = tl.load(fixed + p + t, mask=there, other=0.0)
        w = tl.load(warped + p + t, mask=there, other=0.0)
        s += m
        sf += m * f
        sw += m * w
        sff += m * f * f
        sww += m * w * w
        sfw += m * f * w
    inside = p < voxels
    tl.store(out + p, s, mask=inside)
    tl.store(out + voxels + p, sf, mask=inside)
    tl.store(out + 2 * voxels + p, sw, mask=inside)
    tl.store(out + 3 * voxels + p, sff, mask=inside)
    tl.store(out + 4 * voxels + p, sww, mask=inside)
    tl.store(out + 5 * voxels + p, sfw, mask=inside)


@triton.jit
def window(volume, p, at, n, inner, radius, inside):
    """Sum along an axis of n voxels, `inner` apart, of a window that shrinks at the border."""
    total = tl.load(volume + p, mask=inside, other=0.0)
    for t in range(1, radius + 1):
        after = inside & (at + t < n)
        before = inside & (at >= t)
        total += tl.load(volume + p + t * inner, mask=after, other=0.0)
        total += tl.load(volume + p - t * inner, mask=before, other=0.0)
    return total


@triton.jit(do_not_specialize=SIZES)
def summed(volume, out, voxels, n, inner, radius, BLOCK: tl.constexpr):
    """Sums along any axis, for each of a batch of volumes."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(1).to(tl.int64) * voxels
    inside = p < voxels
    total = window(volume + base, p, p // inner % n, n, inner, radius, inside)
    tl.store(out + base + p, total, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def correlation(
    sums,
    mask,
    floor,
    parts,
    value,
    channels,
    voxels,
    n,
    inner,
    radius,
    NEED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Squared correlation from sums (6, voxels) that lack one axis, and what its gradient needs.

    `value` receives the sum of m·cc of each block, `parts` the fields a, b and c of
    `lncc.loops`, (3, voxels), where NEED.
    """
    block = tl.program_id(0)
    p = block * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    at = p // inner % n
    sums += b * 6 * voxels
    s = window(sums, p, at, n, inner, radius, inside)
    sf = window(sums + voxels, p, at, n, inner, radius, inside)
    sw = window(sums + 2 * voxels, p, at, n, inner, radius, inside)
    sff = window(sums + 3 * voxels, p, at, n, inner, radius, inside)
    sww = window(sums + 4 * voxels, p, at, n, inner, radius, inside)
    sfw = window(sums + 5 * voxels, p, at, n, inner, radius, inside)
    m = tl.load(mask + b // channels * voxels + p, mask=inside, other=0.0)
    counts = (m > 0) & (s > 0)
    # nothing is divided by the weight of an empty window
    s = tl.where(counts, s, 1.0)
    mf, mw = sf / s, sw / s
    # floor of a variance, times the count, beside sums that are not divided by it
    least = tl.load(floor) * s
    cov = sfw - mf * sw
    vf = tl.maximum(sff - mf * sf, 0.0) + least
    vw = tl.maximum(sww - mw * sw, 0.0) + least
    ratio = tl.where(counts, m * cov / (vf * vw), 0.0)
    tl.store(value + b * tl.num_programs(0) + block, tl.sum(ratio * cov))
    if NEED:
        first = 2 * ratio
        second = first * cov / vw
        parts += b * 3 * voxels
        tl.store(parts + p, first, mask=inside)
        tl.store(parts + voxels + p, second, mask=inside)
        tl.store(parts + 2 * voxels + p, first * mf - second * mw, mask=inside)


@triton.jit(do_not_specialize=SIZES)
def gradient(
    fixed,
    warped,
    mask,
    parts,
    factor,
    out,
    channels,
    voxels,
    n,
    inner,
    radius,
    BLOCK: tl.constexpr,
):
    """Factor · m (F Σa - W Σb - Σc), with the sums along the last missing axis."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    inside = p < voxels
    at = p // inner % n
    parts += b * 3 * voxels
    sa = window(parts, p, at, n, inner, radius, inside)
    sb = window(parts + voxels, p, at, n, inner, radius, inside)
    sc = window(parts + 2 * voxels, p, at, n, inner, radius, inside)
    f = tl.load(fixed + b * voxels + p, mask=inside, other=0.0)
    w = tl.load(warped + b * voxels + p, mask=inside, other=0.0)
    m = tl.load(mask + b // channels * voxels + p, mask=inside, other=0.0)
    scale = tl.load(factor + b // channels)
    tl.store(out + b * voxels + p, scale * m * (f * sa - w * sb - sc), mask=inside)


def decorrelation(
    fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
) -> Tensor:
    """1 - the mean squared local correlation over the mask, (B,); see `coincide.kernels.lncc`."""
    return _LNCC.apply(fixed, warped, mask, radius, floor)  # type: ignore[return-value]


class _LNCC(Function):
    @staticmethod
    def forward(
        ctx: Any, fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
    ) -> Tensor:
        f, w, m = as_3d(fixed), as_3d(warped), as_3d(mask.to(warped.dtype))
        rx, ry, rz = (0,) * (3 - len(radius)) + tuple(radius)
        channels, X, Y, Z = w.shape[1:]
        voxels, batch = X * Y * Z, len(w) * channels
        need = ctx.needs_input_grad[1]
        first = w.new_empty(batch, 6, X, Y, Z)
        launch(products, voxels, batch, f, w, m, first, channels, voxels, Z, rz)
        second = torch.empty_like(first)
        launch(summed, voxels, 6 * batch, first, second, voxels, Y, Z, ry)
        # an argument that is not written to where no gradient is needed
        parts = first[:, :3] if not need else w.new_empty(batch, 3, X, Y, Z)
        value = w.new_empty(batch, blocks(voxels))
        small = w.new_full((1,), floor)
        sizes = channels, voxels, X, Y * Z, rx, need
        launch(correlation, voxels, batch, second, m, small, parts, value, *sizes)
        weight = (channels * m.flatten(1).sum(1, dtype=torch.float64)).clamp_min(1e-12)
        ctx.save_for_backward(f, w, m, parts if need else None, weight)
        ctx.reach, ctx.shape = (rx, ry, rz), warped.shape
        total = value.view(len(w), -1).sum(1, dtype=torch.float64)
        return (1 - total / weight).to(warped.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        f, w, m, parts, weight = ctx.saved_tensors
        rx, ry, rz = ctx.reach
        channels, X, Y, Z = w.shape[1:]
        voxels, batch = X * Y * Z, len(w) * channels
        first, second = torch.empty_like(parts), torch.empty_like(parts)
        launch(summed, voxels, 3 * batch, parts, first, voxels, Z, 1, rz)
        launch(summed, voxels, 3 * batch, first, second, voxels, Y, Z, ry)
        factor = (-gradients[0] / weight).to(w.dtype)
        out, sizes = torch.empty_like(w), (channels, voxels, X, Y * Z, rx)
        launch(gradient, voxels, batch, f, w, m, second, factor, out, *sizes)
        return None, out.view(ctx.shape), None, None, None

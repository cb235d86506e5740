"""Joint histogram: the fixed value picks a row, the warped value a B-spline window; by Triton."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.triton_launch import SIZES, launch
from coincide.space.shapes import Volume

GRADIENTS = {"joint_histogram": ("warped",)}

# Tables that blocks share out among them, since many voxels fall into few bins.
COPIES = 32


@triton.jit
def place(fixed, warped, p, inside, bins):
    """First of the four bins of a voxel, as an address in the table, and the fraction beyond."""
    f = tl.load(fixed + p, mask=inside, other=0.0)
    x = tl.load(warped + p, mask=inside, other=1.0)
    row = tl.minimum(tl.maximum(f.to(tl.int32), 0), bins - 3)
    held = tl.minimum(tl.maximum(x, 1.0), bins - 2)
    first = tl.minimum(held.to(tl.int32), bins - 3)
    return row * bins + first - 1, held - first, x == held


@triton.jit(do_not_specialize=SIZES)
def scatter(fixed, warped, mask, tables, voxels, bins, COPIES: tl.constexpr, BLOCK: tl.constexpr):
    """Add every voxel to one of the tables (B, COPIES, bins, bins), in double precision."""
    block = tl.program_id(0)
    p = block * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    base = b * voxels
    m = tl.load(mask + base + p, mask=p < voxels, other=0.0)
    counts = m > 0
    q, t, _ = place(fixed + base, warped + base, p, counts, bins)
    # neighbouring blocks run together: each adds to another table
    at = tables + (b * COPIES + block % COPIES) * bins * bins + q
    # a bin adds up millions of weights
    m, t = m.to(tl.float64), t.to(tl.float64)
    s = 1 - t
    tl.atomic_add(at, m * s * s * s / 6, mask=counts, sem="relaxed")
    tl.atomic_add(at + 1, m * (2.0 - 3 * t * t + 1.5 * t * t * t) / 3, mask=counts, sem="relaxed")
    tl.atomic_add(at + 2, m * (2.0 - 3 * s * s + 1.5 * s * s * s) / 3, mask=counts, sem="relaxed")
    tl.atomic_add(at + 3, m * t * t * t / 6, mask=counts, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def gather(fixed, warped, mask, table, out, voxels, bins, BLOCK: tl.constexpr):
    """Gradient with respect to the warped values of sum(table · histogram)."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    b = tl.program_id(1).to(tl.int64)
    base = b * voxels
    m = tl.load(mask + base + p, mask=p < voxels, other=0.0)
    q, t, free = place(fixed + base, warped + base, p, m > 0, bins)
    counts = (m > 0) & free
    at = table + b * bins * bins + q
    s = 1 - t
    slope = tl.load(at + 3, mask=counts, other=0.0) * (t * t * 0.5)
    slope -= tl.load(at, mask=counts, other=0.0) * (s * s * 0.5)
    slope += tl.load(at + 1, mask=counts, other=0.0) * (1.5 * t * t - 2 * t)
    slope += tl.load(at + 2, mask=counts, other=0.0) * (2 * s - 1.5 * s * s)
    tl.store(out + base + p, m * slope, mask=p < voxels)


def joint_histogram(fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
    """Histogram (B, bins, bins) float64; see `coincide.kernels.histogram`."""
    return _Histogram.apply(fixed, warped, mask, bins)  # type: ignore[return-value]


class _Histogram(Function):
    @staticmethod
    def forward(ctx: Any, fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
        f, w, m = (t.detach().contiguous() for t in (fixed, warped, mask))
        ctx.save_for_backward(f, w, m)
        tables = w.new_zeros(len(w), COPIES, bins, bins, dtype=torch.float64)
        launch(scatter, w[0].numel(), len(w), f, w, m, tables, w[0].numel(), bins, COPIES)
        return tables.sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        f, w, m = ctx.saved_tensors
        table = gradients[0].to(w.dtype).contiguous()
        out, voxels = torch.empty_like(w), w[0].numel()
        launch(gather, voxels, len(w), f, w, m, table, out, voxels, table.shape[-1])
        return None, out, None, None

"""Separable filters, borders mirrored at the outer faces, compiled by Triton."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.triton_launch import SIZES, constant, launch
from coincide.space.shapes import Volume

GRADIENTS = {"filtered": ("volume",), "filter_into": ()}


@triton.jit(do_not_specialize=SIZES)
def along(
    volume,
    weights,
    out,
    voxels,
    n,
    inner,
    radius,
    FAR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Filter along an axis of n voxels, `inner` apart; FAR where the radius exceeds n."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    base = tl.program_id(1).to(tl.int64) * voxels
    inside = p < voxels
    at = p // inner % n
    # neighbouring lanes read neighbouring voxels whatever the axis
    start = volume + base + p - at * inner
    total = tl.zeros((BLOCK,), out.dtype.element_ty)
    for t in range(2 * radius + 1):
        q = at + t - radius
        q = tl.where(q < 0, -1 - q, q)
        # beyond a radius of n one reflection is not enough; before, the division is saved
        if FAR:
            q = q % (2 * n)
        q = tl.where(q >= n, 2 * n - 1 - q, q)
        total += tl.load(weights + t) * tl.load(start + q * inner, mask=inside, other=0.0)
    tl.store(out + base + p, total, mask=inside)


def filtered(volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
    """Filter (B, C, *S) along each axis in turn; see `coincide.kernels.smooth`."""
    return _Separable.apply(volume, weights)  # type: ignore[return-value]


def filter_into(volume: Volume, weights: Sequence[np.ndarray], out: Tensor) -> Volume:
    """The same, written to `out`."""
    source, shape = volume.detach().contiguous(), volume.shape[2:]
    voxels, batch = shape.numel(), volume.shape[:2].numel()
    active = [axis for axis, kernel in enumerate(weights) if len(kernel) > 1 or kernel[0] != 1]
    for axis in active:
        radius, n, inner = len(weights[axis]) // 2, shape[axis], shape[axis + 1 :].numel()
        # `out` may be the volume itself, which is still read while the first axis is written
        last = axis == active[-1] and source.data_ptr() != out.data_ptr()
        target = out if last else torch.empty_like(source)
        arguments = source, constant(weights[axis], source), target, voxels, n, inner, radius
        launch(along, voxels, batch, *arguments, radius > n)
        source = target
    return out if source is out else out.copy_(source)


class _Separable(Function):
    @staticmethod
    def forward(ctx: Any, volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
        ctx.weights = weights
        out = torch.empty_like(volume, memory_format=torch.contiguous_format)
        return filter_into(volume, weights, out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        grad = gradients[0].contiguous()  # the filter is its own adjoint
        return filter_into(grad, ctx.weights, torch.empty_like(grad)), None

"""Separable filters on the CPU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, write
from coincide.kernels.smooth import loops
from coincide.space.shapes import Volume

GRADIENTS = {"filtered": ("volume",), "filter_into": ()}
# Rows of a plane filtered together. A strip goes through all three axes before the next one is
# read: 48 rows of 200 voxels in single precision, with what the filter needs around them, are
# some tens of kB and stay in the second-level cache of any machine.
STRIP = 48


def filtered(volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
    """Filter (B, C, *S) along each axis; see `coincide.kernels.smooth`."""
    return _Separable.apply(volume, weights)  # type: ignore[return-value]


def filter_into(volume: Volume, weights: Sequence[np.ndarray], out: Tensor) -> Volume:
    """The same, written to `out`."""
    source, target = as_3d(volume), as_3d(out)
    if out.data_ptr() == volume.data_ptr():
        # a strip needs rows of its neighbours that have been written already
        source = source.copy()
    kernels = [np.ones(1)] * (3 - len(weights)) + list(weights)
    wx, wy, wz = (_half(w).astype(source.dtype) for w in kernels)
    for b in range(len(source)):
        loops.separable(source[b], wx, wy, wz, STRIP, target[b])
    write(target, out)
    return out


def _half(weights: np.ndarray) -> np.ndarray:
    """Weights from the centre outwards, zeros added until the others are a multiple of three."""
    half = weights[len(weights) // 2 :]
    # at least three, because the loops take three pairs of neighbours at once
    padded = np.zeros(1 + max(3, 3 * -(-(len(half) - 1) // 3)))
    padded[: len(half)] = half
    return padded


class _Separable(Function):
    @staticmethod
    def forward(ctx: Any, volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
        ctx.weights = weights
        return filter_into(
            volume, weights, torch.empty_like(volume, memory_format=torch.contiguous_format)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        grad = gradients[0].contiguous()
        return filter_into(grad, ctx.weights, torch.empty_like(grad)), None

"""Smooth: Gaussian and box filters, mirrored at the border so that they are their own adjoint."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.backend import backend
from coincide.kernels.native import smooth as native
from coincide.kernels.native.jit import lifted
from coincide.space.shapes import Volume

STRIP = 48  # rows filtered together: they stay in the cache


def gaussian(volume: Volume, sigma: Sequence[float], *, out: Tensor | None = None) -> Volume:
    """Gaussian filter of (B, C, *S), cut at three sigma and normalised.

    Args:
        volume: Values.
        sigma: Standard deviation along each axis, in voxels; 0 leaves the axis alone.
        out: Where to write the result, without gradient; `volume` itself costs a copy.
    """
    return filtered(volume, [gaussian_weights(s) for s in sigma], out=out)


def box(volume: Volume, radius: Sequence[int], *, out: Tensor | None = None) -> Volume:
    """Mean over a box of 2·radius + 1 voxels along each axis, (B, C, *S)."""
    return filtered(volume, [np.full(2 * r + 1, 1 / (2 * r + 1)) for r in radius], out=out)


def filtered(volume: Volume, weights: Sequence[np.ndarray], *, out: Tensor | None = None) -> Volume:
    """Separable filter with odd, symmetric weights along each axis; differentiable."""
    weights = [w if n > 1 else np.ones(1) for w, n in zip(weights, volume.shape[2:], strict=True)]
    if volume.device.type != "cpu":
        return backend(volume, "smooth").filtered(volume, weights, out=out)
    if out is not None:
        return _run(volume, weights, out)
    return _Separable.apply(volume, weights)  # type: ignore[return-value]


@cache
def gaussian_weights(sigma: float) -> np.ndarray:
    """Sampled Gaussian of standard deviation `sigma` voxels, cut at three sigma, sum 1."""
    radius = int(np.ceil(3 * sigma))
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2) if sigma > 0 else np.ones(1)
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


def _run(volume: Volume, weights: Sequence[np.ndarray], out: Tensor) -> Volume:
    source, target = lifted(volume.clone() if out is volume else volume), lifted(out)
    kernels = [np.ones(1)] * (3 - len(weights)) + list(weights)
    wx, wy, wz = (_half(w).astype(source.dtype) for w in kernels)
    for b in range(len(source)):
        native.separable(source[b], wx, wy, wz, STRIP, target[b])
    return out


def _half(weights: np.ndarray) -> np.ndarray:
    """Weights from the centre outwards, zeros added until the others are a multiple of three."""
    half = weights[len(weights) // 2 :]
    padded = np.zeros(1 + max(3, 3 * -(-(len(half) - 1) // 3)))
    padded[: len(half)] = half
    return padded


class _Separable(Function):
    @staticmethod
    def forward(ctx: Any, volume: Volume, weights: Sequence[np.ndarray]) -> Volume:
        ctx.weights = weights
        return _run(
            volume, weights, torch.empty_like(volume, memory_format=torch.contiguous_format)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        grad = gradients[0].contiguous()
        return _run(grad, ctx.weights, torch.empty_like(grad)), None

"""Self-similarity descriptors and their gradient on the CPU."""

from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d
from coincide.kernels.mind import loops
from coincide.space.shapes import Volume

GRADIENTS = {"descriptors": ("volume",)}
LEAST = 1e-12  # the mean spread is held above this: a flat image has none, and it divides


def descriptors(
    volume: Volume, first: np.ndarray, second: np.ndarray, radius: int, floor: float
) -> Volume:
    """Descriptors (B, C, *S); see `coincide.kernels.mind`."""
    missing = 3 - first.shape[1]
    a, b = (np.pad(o, ((0, 0), (missing, 0))).astype(np.int64) for o in (first, second))
    return _Descriptors.apply(volume, a, b, radius, floor)  # type: ignore[return-value]


class _Descriptors(Function):
    @staticmethod
    def forward(
        ctx: Any, volume: Volume, a: np.ndarray, b: np.ndarray, radius: int, floor: float
    ) -> Volume:
        ctx.save_for_backward(volume)
        source = as_3d(volume)
        out = torch.empty(len(volume), len(a), *volume.shape[2:], dtype=volume.dtype)
        target, kind = as_3d(out), source.dtype.type
        reach = np.array([radius if n > 1 else 0 for n in source.shape[2:]], np.int64)
        ctx.offsets, ctx.floor, ctx.means = (a, b, reach), floor, []
        for pair in range(len(source)):
            loops.distances(source[pair, 0], a, b, reach, target[pair])
            mean = float((out[pair].mean(0) - out[pair].amin(0)).mean())
            # as it was, since one held at LEAST passes nothing on
            ctx.means.append(mean)
            mean = max(mean, LEAST)
            loops.descriptors(target[pair], kind(floor * mean), kind(mean / floor))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (volume,) = ctx.saved_tensors
        a, b, reach = ctx.offsets
        source, kind = as_3d(volume), as_3d(volume).dtype.type
        result = torch.empty_like(volume, memory_format=torch.contiguous_format)
        target, voxels = as_3d(result), source[0, 0].size
        # made anew: to keep the distances beside the descriptors would double the memory
        distance = np.empty((len(a), *source.shape[2:]), source.dtype)
        received = np.empty_like(distance)
        rows = np.empty((source.shape[2] * source.shape[3], 2))
        for pair in range(len(source)):
            # a copy, because what follows works in place and the gradient is autograd's
            grad = as_3d(gradients[0][pair : pair + 1])[0].copy()
            loops.distances(source[pair, 0], a, b, reach, distance)
            mean = max(ctx.means[pair], LEAST)
            low, high = kind(ctx.floor * mean), kind(mean / ctx.floor)
            loops.undescribed(distance, grad, low, high, rows)
            to_low, to_high = rows.sum(0)
            if ctx.means[pair] > LEAST:
                # the limits of V are floor · mean and mean / floor
                to_mean = ctx.floor * to_low + to_high / ctx.floor
                loops.unaveraged(distance, kind(to_mean / voxels), grad)
            loops.unsummed(grad, reach, received)
            loops.unshifted(source[pair, 0], received, a, b, target[pair, 0])
        return result, None, None, None, None

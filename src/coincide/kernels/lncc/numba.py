"""Mean squared local correlation and its gradients on the CPU, in two sliding passes."""

import threading
from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d
from coincide.kernels.difference.numba import scaled
from coincide.kernels.lncc import loops
from coincide.kernels.spans import extents, widened
from coincide.space.shapes import PerPair, Volume

GRADIENTS = {"decorrelation": ("fixed", "warped")}
# What is worked on at once: slabs of planes cut into strips of rows. So many however many threads
# there are, so that sums do not depend on them; and a strip of 32 rows keeps its six running sums
# in the second-level cache, which is what makes sliding pay.
SLABS, STRIP = 8, 32


def decorrelation(
    fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
) -> PerPair:
    """1 - the mean squared local correlation, (B,); see `coincide.kernels.lncc`."""
    channels = [
        _LNCC.apply(fixed[:, c : c + 1], warped[:, c : c + 1], mask, radius, floor)
        for c in range(fixed.shape[1])
    ]
    if len(channels) == 1:
        return channels[0]  # type: ignore[return-value]
    return torch.stack(channels).mean(0)  # type: ignore[arg-type]


class _LNCC(Function):
    @staticmethod
    def forward(
        ctx: Any, fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
    ) -> PerPair:
        f, w, m = as_3d(fixed.to(warped.dtype)), as_3d(warped), as_3d(mask.to(warped.dtype))
        reach = (0,) * (3 - len(radius)) + tuple(radius)
        to_fixed, to_warped = (np.empty_like(w) if n else None for n in ctx.needs_input_grad[:2])
        result = torch.zeros(len(f), dtype=warped.dtype)
        for pair in range(len(f)):
            images = f[pair, 0], w[pair, 0], m[pair, 0]
            # a window in which the fixed image is flat has no covariance with anything, whichever
            # of the two images changes
            near = widened(extents(images[0]), w.shape[-1], reach)
            out = None if to_warped is None else to_warped[pair, 0]
            result[pair] = _correlated(images, near, reach, floor, out)
            if to_fixed is not None:
                # the measure is the same with the images exchanged, and so is its gradient
                other = images[1], images[0], images[2]
                _correlated(other, near, reach, floor, to_fixed[pair, 0])
        stored = (None if g is None else torch.from_numpy(g) for g in (to_fixed, to_warped))
        ctx.save_for_backward(*stored)
        ctx.shape = warped.shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        found = [
            None if stored is None else scaled(stored.view(ctx.shape), gradients[0])
            for stored in ctx.saved_tensors
        ]
        return *found, None, None, None


def _correlated(
    images: tuple[np.ndarray, np.ndarray, np.ndarray],
    near: np.ndarray,
    reach: tuple[int, ...],
    floor: float,
    gradient: np.ndarray | None,
) -> float:
    """Value for one pair of (X, Y, Z), whose gradient by the second image goes into an array."""
    shape, kind = images[1].shape, images[1].dtype
    a, b, c = (_buffer(n, shape, kind) for n in range(3))
    value = np.zeros((SLABS * -(-shape[1] // STRIP), 2))
    loops.correlate(*images, reach, kind.type(floor), near, SLABS, STRIP, value, a, b, c)
    weight = max(float(value[:, 1].sum()), 1e-12)
    if gradient is not None:
        # a voxel changes all windows that it lies in; minus, since the cost is one less the mean
        far, scale = widened(near, shape[2], reach), kind.type(-1 / weight)
        loops.spread(*images, a, b, c, reach, scale, far, SLABS, STRIP, len(value), gradient)
    return 1 - float(value[:, 0].sum()) / weight


class _Kept(threading.local):
    """Working memory kept between calls of a thread: fresh pages cost more than the arithmetic."""

    def __init__(self):
        self.arrays: dict[int, np.ndarray] = {}


_kept = _Kept()


def _buffer(number: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    kept = _kept.arrays.get(number)
    if kept is None or kept.shape != shape or kept.dtype != dtype:
        kept = _kept.arrays[number] = np.empty(shape, dtype)
    return kept

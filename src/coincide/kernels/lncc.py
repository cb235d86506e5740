"""LNCC: mean squared local correlation and its gradient in two sliding passes."""

import threading
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.backend import backend
from coincide.kernels.difference import scaled
from coincide.kernels.native import lncc as native
from coincide.kernels.native.jit import lifted
from coincide.kernels.spans import extents, widened
from coincide.space.shapes import Volume

SLABS, STRIP = 8, 32  # what is worked on at once; fixed, so that sums do not depend on threads


def decorrelation(
    fixed: Volume, warped: Volume, mask: Volume, radius: tuple[int, ...], floor: float
) -> Tensor:
    r"""1 - the mean over the mask of $\mathrm{cov}_w^2 / (\mathrm{var}_F\,\mathrm{var}_W)$.

    Windows are boxes; they shrink at the border, as in ITK's ANTS neighbourhood correlation.

    Args:
        fixed: (B, C, *S) values, best centred about zero.
        warped: The same.
        mask: (B, 1, *S) weights; windows count only weighted voxels.
        radius: Half width of the window along each axis, voxels.
        floor: Added to both variances.

    Returns:
        (B,), differentiable in `warped`.
    """
    if fixed.device.type != "cpu":
        return backend(warped, "lncc").decorrelation(fixed, warped, mask, radius, floor)
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
    ) -> Tensor:
        f, w, m = lifted(fixed), lifted(warped), lifted(mask.to(fixed.dtype))
        reach = (0,) * (3 - len(radius)) + tuple(radius)
        need = ctx.needs_input_grad[1]
        gradient = np.empty_like(w) if need else None
        result = torch.zeros(len(f), dtype=fixed.dtype)
        a, b, c = (_buffer(n, w.shape[2:], w.dtype) for n in range(3))
        *_, rows, length = w.shape
        value = np.zeros((SLABS * -(-rows // STRIP), 2))
        small = w.dtype.type(floor)
        for pair in range(len(f)):
            images = f[pair, 0], w[pair, 0], m[pair, 0]
            near = widened(extents(f[pair, 0]), length, reach)
            native.correlate(*images, reach, small, near, SLABS, STRIP, value, a, b, c)
            weight = max(float(value[:, 1].sum()), 1e-12)
            result[pair] = 1 - float(value[:, 0].sum()) / weight
            if gradient is not None:
                scale = w.dtype.type(-1 / weight)
                far, tasks, to = widened(near, length, reach), len(value), gradient[pair, 0]
                native.spread(*images, a, b, c, reach, scale, far, SLABS, STRIP, tasks, to)
        if gradient is not None:
            ctx.save_for_backward(torch.from_numpy(gradient).reshape(warped.shape))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (stored,) = ctx.saved_tensors
        return None, scaled(stored, gradients[0]), None, None, None


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

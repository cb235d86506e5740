"""Joint histogram of two images, smooth in the second."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.backend import backend
from coincide.kernels.native import histogram as native
from coincide.space.shapes import Volume

CHUNKS = 16


def joint_histogram(fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
    """Weighted joint histogram with a box window for `fixed` and a cubic B-spline for `warped`.

    This is the estimate of Mattes et al. (2003), doi:10.1109/TMI.2003.809072.

    Args:
        fixed: (B, 1, *S) intensities counted in bins; voxel x falls into row floor(x), at most
            bins - 3: the largest value shares the last row with those just below it.
        warped: (B, 1, *S) intensities counted in bins; bin centres lie at whole numbers and
            values outside [1, bins - 2] are moved to that range.
        mask: (B, 1, *S) weights.
        bins: Number of bins of both.

    Returns:
        (B, bins, bins) float64 sums of weights; differentiable in `warped`.
    """
    if fixed.device.type != "cpu":
        return backend(warped, "histogram").joint_histogram(fixed, warped, mask, bins)
    return _Histogram.apply(fixed, warped, mask, bins)  # type: ignore[return-value]


class _Histogram(Function):
    @staticmethod
    def forward(ctx: Any, fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
        ctx.save_for_backward(fixed, warped, mask)
        table = torch.empty(len(fixed), bins, bins, dtype=torch.float64)
        for b, (f, w, m) in enumerate(zip(fixed, warped, mask, strict=True)):
            partial = np.zeros((CHUNKS, bins, bins))
            native.scatter(_flat(f), _flat(w), _flat(m), partial)
            table[b] = torch.from_numpy(partial.sum(0))
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, warped, mask = ctx.saved_tensors
        out = torch.empty_like(warped, memory_format=torch.contiguous_format)
        for b, (f, w, m) in enumerate(zip(fixed, warped, mask, strict=True)):
            table = gradients[0][b].contiguous().numpy()
            native.gather(_flat(f), _flat(w), _flat(m), table, out[b].view(-1).numpy())
        return None, out, None, None


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().view(-1).numpy()

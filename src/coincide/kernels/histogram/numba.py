"""Joint histogram on the CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.histogram import loops
from coincide.space.shapes import Volume

GRADIENTS = {"joint_histogram": ("warped",)}
# Tables that are filled apart and added in order, since threads that met in one would have to wait
# for each other; so many whatever the threads, so that sums do not depend on them.
CHUNKS = 16


def joint_histogram(fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
    """Histogram (B, bins, bins) float64; see `coincide.kernels.histogram`."""
    return _Histogram.apply(fixed, warped, mask, bins)  # type: ignore[return-value]


class _Histogram(Function):
    @staticmethod
    def forward(ctx: Any, fixed: Volume, warped: Volume, mask: Volume, bins: int) -> Tensor:
        ctx.save_for_backward(fixed, warped, mask)
        table = torch.empty(len(fixed), bins, bins, dtype=torch.float64)
        for b, (f, w, m) in enumerate(zip(fixed, warped, mask, strict=True)):
            partial = np.zeros((CHUNKS, bins, bins))
            loops.scatter(_flat(f), _flat(w), _flat(m), partial)
            table[b] = torch.from_numpy(partial.sum(0))
        return table

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        fixed, warped, mask = ctx.saved_tensors
        out = torch.empty_like(warped, memory_format=torch.contiguous_format)
        for b, (f, w, m) in enumerate(zip(fixed, warped, mask, strict=True)):
            table = gradients[0][b].contiguous().numpy()
            loops.gather(_flat(f), _flat(w), _flat(m), table, out[b].view(-1).numpy())
        return None, out, None, None


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().view(-1).numpy()

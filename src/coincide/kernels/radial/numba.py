"""Radial sums at the voxels of a grid on the CPU."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.as_3d import as_3d, as_3d_matrix
from coincide.kernels.radial import loops
from coincide.space.shapes import Volume

GRADIENTS = {"radial_sum": ("weights",)}


def radial_sum(
    affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
) -> Volume:
    """Sums (B, C, *S); see `coincide.kernels.radial`."""
    return _Radial.apply(affine, shape, centres, weights)  # type: ignore[return-value]


class _Radial(Function):
    @staticmethod
    def forward(
        ctx: Any, affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
    ) -> Tensor:
        dim = len(shape)
        there = np.zeros((len(centres), 3))
        there[:, 3 - dim :] = centres.detach().numpy()
        ctx.problem = as_3d_matrix(affine, np.dtype(np.float64)), there, dim % 2 == 0
        matrix, _, even = ctx.problem
        out = torch.empty(*weights.shape[:2], *shape, dtype=weights.dtype)
        for w, target in zip(weights.detach().numpy(), as_3d(out), strict=True):
            loops.spread(matrix, there, np.ascontiguousarray(w.T), even, target)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        matrix, there, even = ctx.problem
        sums = []
        for grad in as_3d(gradients[0]):
            rows = np.zeros((grad.shape[1], len(there), len(grad)))
            loops.gather(matrix, there, grad, even, rows)
            sums.append(torch.from_numpy(rows.sum(0).T.copy()))
        return None, None, None, torch.stack(sums).to(gradients[0].dtype)

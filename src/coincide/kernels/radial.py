"""Radial: sums of kernels that stand at scattered points, as thin-plate splines are made of."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.native import radial as native
from coincide.kernels.native.jit import lifted, lifted_matrix
from coincide.kernels.reference import radial as reference
from coincide.space.shapes import Volume


def radial_sum(
    affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
) -> Volume:
    """Sum over centres of weight · kernel(distance) at the voxels of a grid.

    Args:
        affine: (D, D+1) from a voxel to the space of the centres.
        shape: *S of the grid.
        centres: (N, D).
        weights: (B, C, N) float64.

    Returns:
        (B, C, *S) with the dtype of the weights, differentiable in them.
    """
    dim = len(shape)
    if weights.device.type == "cpu" and dim in (2, 3):
        return _Radial.apply(affine, shape, centres, weights)  # type: ignore[return-value]
    axes = [torch.arange(n, dtype=weights.dtype, device=weights.device) for n in shape]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(1, -1, dim)
    matrix = torch.as_tensor(affine, dtype=weights.dtype, device=weights.device)
    places = voxel @ matrix[:, :-1].T + matrix[:, -1]
    size = max(1, 2**24 // len(centres))  # places at once, so that memory stays bounded
    parts = [reference.radial_sum(p, centres, weights) for p in places.split(size, 1)]
    return torch.cat(parts, 1).transpose(1, 2).reshape(len(weights), -1, *shape)


class _Radial(Function):
    @staticmethod
    def forward(
        ctx: Any, affine: np.ndarray, shape: tuple[int, ...], centres: Tensor, weights: Tensor
    ) -> Tensor:
        dim = len(shape)
        there = np.zeros((len(centres), 3))
        there[:, 3 - dim :] = centres.detach().numpy()
        ctx.problem = lifted_matrix(affine, np.dtype(np.float64)), there, dim % 2 == 0
        matrix, _, even = ctx.problem
        out = torch.empty(*weights.shape[:2], *shape, dtype=weights.dtype)
        for w, target in zip(weights.detach().numpy(), lifted(out), strict=True):
            native.spread(matrix, there, np.ascontiguousarray(w.T), even, target)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        matrix, there, even = ctx.problem
        slopes = []
        for grad in lifted(gradients[0]):
            rows = np.zeros((grad.shape[1], len(there), len(grad)))
            native.gather(matrix, there, grad, even, rows)
            slopes.append(torch.from_numpy(rows.sum(0).T.copy()))
        return None, None, None, torch.stack(slopes).to(gradients[0].dtype)

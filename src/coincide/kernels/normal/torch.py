"""The same normal equations with every derivative written out."""

import numpy as np
import torch

from coincide.kernels.warp.torch import warp
from coincide.space.shapes import Volume

GRADIENTS = {"normal_equations": ()}


def normal_equations(
    fixed: Volume, volume: Volume, index: np.ndarray, mask: Volume
) -> tuple[float, np.ndarray, np.ndarray]:
    """Cost, gradient (N,) and curvature (N, N); see `coincide.kernels.normal`."""
    dim, shape = len(index), tuple(fixed.shape[2:])
    with torch.enable_grad():
        # a displacement of zero, whose gradient is the slope of every sample by its position
        field = volume.new_zeros(len(volume), dim, *shape).requires_grad_()
        warped, inside = warp(volume.detach(), field, index, np.eye(dim))
    axes = [torch.arange(n, dtype=volume.dtype, device=volume.device) for n in shape]
    voxel = torch.stack([*torch.meshgrid(*axes, indexing="ij"), torch.ones(shape).to(field)])
    gap = (warped - fixed).detach().flatten(2)
    weight = (inside * mask).flatten(2)
    weight = weight / (len(fixed) * gap.shape[1] * weight.sum((1, 2), keepdim=True)).clamp_min(
        1e-12
    )
    size = dim * (dim + 1)
    gradient, curvature = field.new_zeros(size), field.new_zeros(size, size)
    for c in range(gap.shape[1]):
        (steep,) = torch.autograd.grad(warped[:, c].sum(), field, retain_graph=True)
        by_entry = (steep[:, :, None] * voxel).reshape(len(volume), size, -1)
        gradient += 2 * (by_entry @ (weight * gap[:, c : c + 1]).transpose(1, 2)).sum((0, 2))
        curvature += 2 * (weight * by_entry @ by_entry.transpose(1, 2)).sum(0)
    cost = float((weight * gap.square()).sum())
    return cost, gradient.detach().cpu().numpy(), curvature.detach().cpu().numpy()

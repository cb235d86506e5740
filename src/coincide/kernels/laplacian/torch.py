"""Second differences with torch operations."""

import numpy as np
import torch

from coincide.space.shapes import Volume

GRADIENTS = {"laplacian": ("field",)}


def laplacian(field: Volume, weight: np.ndarray) -> Volume:
    """Sum over axes of weight (D,) times the second difference, (B, C, *S)."""
    total = torch.zeros_like(field)
    for axis, n in enumerate(field.shape[2:], start=2):
        if n > 2:
            ends = [field.narrow(axis, m, n - 2) for m in range(3)]
            inner = ends[0] - 2 * ends[1] + ends[2]
            first, last = inner.narrow(axis, 0, 1), inner.narrow(axis, n - 3, 1)
            total = total + float(weight[axis - 2]) * torch.cat([first, inner, last], axis)
    return total

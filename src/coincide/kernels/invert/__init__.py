"""Invert: the displacement that undoes another, voxel by voxel.

It has compiled loops alone: what lies on another device is copied to the CPU and back.
"""

import numpy as np
import torch

from coincide.kernels.as_3d import as_3d, as_3d_field, from_3d_field
from coincide.kernels.backend import forbid_gradients
from coincide.kernels.invert import loops
from coincide.space.shapes import Field, Volume


def invert(field: Field, steps: int, tolerance: float) -> tuple[Field, Volume]:
    """Solve w = -u(y + w) at every voxel y by a damped fixed-point iteration; all in voxels.

    Args:
        field: u, (B, D, *S), whose border is continued outside.
        steps: At most this many iterations a voxel.
        tolerance: A voxel is done when |w + u(y + w)| is below this.

    Returns:
        w, (B, D, *S), and |w + u(y + w)|, (B, 1, *S), without gradient.

    Raises:
        ValueError: if `field` needs a gradient.
    """
    forbid_gradients("invert", {"field": field})
    source = as_3d_field(field.cpu())
    out = np.empty_like(source)
    residual = torch.empty_like(field[:, :1], device="cpu", memory_format=torch.contiguous_format)
    for one, inverse, size in zip(source, out, as_3d(residual), strict=True):
        loops.invert(one, steps, source.dtype.type(tolerance), inverse, size[0])
    return from_3d_field(out, tuple(field.shape)).to(field.device), residual.to(field.device)

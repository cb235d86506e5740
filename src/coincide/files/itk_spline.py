"""ITK's cubic B-spline transform and ours: the same map, written down differently.

Both place the first coefficient at the origin of the lattice, are cubic, and are the identity
outside the domain, which runs, border included, from the second control point to the last but one
of each axis. ITK keeps all x components, then all y, first axis fastest, in LPS.
"""

import numpy as np
import torch

from coincide.files.lps import flip
from coincide.space.grid import Grid
from coincide.transforms.bspline import BSpline

SPLINE = "BSplineTransform"
ORDER = 3


def order_of(kind: str) -> int:
    """Order of an ITK B-spline, which its class name says only where it is not cubic."""
    parts = kind.split("_")
    return int(parts[4]) if len(parts) > 4 else ORDER


def spline_of(parameters: np.ndarray, grid: Grid) -> BSpline:
    """Our B-spline of ITK's coefficients (D * voxels,) on the lattice `grid`."""
    dim = grid.dim
    values = np.asarray(parameters, np.float64).reshape(dim, *grid.shape[::-1])
    # axes turned into our order, and components from LPS
    values = values.transpose(0, *range(dim, 0, -1)) * flip(dim).reshape(-1, *(1,) * dim)
    coefficients = torch.from_numpy(np.ascontiguousarray(values))[None]
    return BSpline(float(grid.spacing.min()), coefficients=coefficients, grid=grid)


def parameters_of(coefficients: torch.Tensor) -> np.ndarray:
    """ITK's coefficients (D * voxels,), float64, of ours (1, D, *M)."""
    values = coefficients.detach().cpu().double().numpy()[0]
    dim = len(values)
    values = values * flip(dim).reshape(-1, *(1,) * dim)
    return values.transpose(0, *range(dim, 0, -1)).ravel()

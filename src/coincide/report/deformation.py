"""Deformation: the displacement and the volume change that the viewer draws."""

import base64
import math
from typing import Any

import numpy as np
import torch

from coincide.registration import Registration
from coincide.report.lattice import coarser, on
from coincide.report.mosaic import mosaic
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.shapes import Field
from coincide.transforms.jacobian import determinant

STRETCHES = (1.25, 1.5, 2.0, 4.0)
CHANGE = 128  # voxels an axis of the volume change
LINES = {2: 176, 3: 64}  # voxels an axis of the displacement that bends the drawn grid


def displacement(result: Registration, grid: Grid) -> Field:
    """Displacement on a grid, mm, (1, D, *S); read off where it was computed already."""
    alignment = result.alignment
    if "displacement" in vars(alignment):  # of the scores
        known = Image(alignment.displacement.detach(), alignment.fixed.grid)
        field = torch.from_numpy(np.ascontiguousarray(on(known, grid), np.float32))[None]
    else:
        field = result.transform.displacement(grid)[:1].detach().to("cpu", torch.float32)
    # a transform that diverged must still be shown; the scores say that it did
    return torch.nan_to_num(field, nan=0.0, posinf=0.0, neginf=0.0)


def volume_change(field: Field, lattice: Grid) -> dict[str, Any]:
    """The determinant of the Jacobian as a mosaic, and how its codes are read."""
    few = coarser(lattice, CHANGE)
    known = torch.from_numpy(np.ascontiguousarray(on(Image(field, lattice), few)))[None]
    stretch, codes = coded(determinant(known, few)[0, 0].numpy())
    shape = [*few.shape, *[1] * (3 - few.dim)]
    return {**mosaic(codes[None]), "shape": shape, "stretch": stretch}


def coded(det: np.ndarray) -> tuple[float, np.ndarray]:
    """Volume change as 8 bits: 0 is folding; 1 to 255 the logarithm from 1/stretch to stretch.

    Returns:
        The stretch at the end of the scale, and the codes.
    """
    size = np.log2(np.clip(np.nan_to_num(det), 2.0**-4, 2.0**4))
    usual = float(np.percentile(np.abs(size[tuple(slice(None, None, 3) for _ in det.shape)]), 99.5))
    stretch = next((s for s in STRETCHES if usual <= math.log2(s)), STRETCHES[-1])
    codes = np.clip(np.round(128 + size * (127 / math.log2(stretch))), 1, 255).astype(np.uint8)
    codes[~(det > 0)] = 0
    return stretch, codes


def arrows(field: Field, lattice: Grid) -> dict[str, Any]:
    """Displacement along the screen axes, mm, on a lattice of few voxels, as 16-bit numbers."""
    few = coarser(lattice, LINES[lattice.dim])
    world = on(Image(field, lattice), few)
    along = np.einsum("ed,d...->e...", np.linalg.inv(few.direction), world)
    largest = max(float(np.abs(along).max(initial=0)), 1e-3)
    codes = np.round(along / largest * 32767).astype("<i2")
    codes = codes.transpose(0, *range(codes.ndim - 1, 0, -1))
    first = lattice.to_index(few.origin)
    step = few.spacing / lattice.spacing
    missing = 3 - lattice.dim
    return {
        "shape": [*few.shape, *[1] * missing],
        "first": [*first.tolist(), *[0.0] * missing],
        "step": [*step.tolist(), *[1.0] * missing],
        "unit": largest / 32767,
        "codes": base64.b64encode(np.ascontiguousarray(codes).tobytes()).decode(),
    }

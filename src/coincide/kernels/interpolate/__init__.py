"""Interpolate: the values of a volume at displaced voxels without gradient: nearest, vote, cubic.

These have compiled loops alone: what lies on another device is copied to the CPU and back.
"""

from typing import Literal

import numpy as np
import torch

from coincide.kernels.as_3d import as_3d, as_3d_field, as_3d_matrix
from coincide.kernels.backend import forbid_gradients
from coincide.kernels.interpolate import loops
from coincide.space.shapes import Field, Volume


def interpolate(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...],
    kind: Literal["nearest", "label", "cubic"],
) -> Volume:
    """Values at the positions index · (voxel, 1) + scale · field; zero outside.

    Args:
        volume: (B or 1, C, *M) of any type.
        field: (B, D, *S) displacement, in any unit that `scale` turns into voxels of `volume`;
            None: no displacement.
        index: (D, D+1) from a voxel of the result to a voxel of `volume`.
        scale: (D, D) from a displacement to voxels of `volume`.
        shape: *S.
        kind: `nearest`; `label`: the value of the largest linear weight; `cubic`: interpolating
            B-spline, in single precision.

    Returns:
        (B, C, *S) of the type and on the device of `volume`, without gradient.

    Raises:
        ValueError: if a tensor needs a gradient.
    """
    forbid_gradients("interpolate", {"volume": volume, "field": field})
    source = as_3d(volume.cpu())
    batch = max(len(source), 1 if field is None else len(field))
    out = torch.zeros(batch, source.shape[1], *shape, dtype=volume.dtype)
    target = as_3d(out)
    # in double precision, since rounding decides which label lies nearest where two are as near
    matrices = [as_3d_matrix(m, np.dtype(np.float64)) for m in (index, scale)]
    if field is None:
        # one number seen everywhere: a displacement of zero takes no memory
        moved = np.broadcast_to(np.zeros(1, np.float32), (1, 3, *target.shape[2:]))
    else:
        moved = as_3d_field(field.cpu())
    function = {"nearest": loops.nearest, "label": loops.vote, "cubic": loops.cubic}[kind]
    if kind == "cubic":
        # always a copy, which the filter may overwrite
        source = source.astype(np.float32)
        for channels in source:
            loops.prefilter(channels)
    for b in range(batch):
        function(source[b % len(source)], moved[b % len(moved)], *matrices, target[b])
    return out.to(volume.device)


def prefilter(volume: np.ndarray) -> None:
    """Cubic B-spline coefficients of (C, X, Y, Z) float32, in place.

    References:
        Unser (1999), doi:10.1109/79.799930.
    """
    loops.prefilter(volume)

"""Destination: the grid that a warped image gets."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.files.accept import as_stored
from coincide.files.nifti import grid_in
from coincide.files.read import ImageFile
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.transform import Transform

PROBES = 9  # points along each axis that are followed to see where an image ends up


def destination(
    on: Any,
    spacing: float | Sequence[float] | None,
    moving: Grid,
    through: Sequence[Transform],
) -> Grid:
    """The grid that is meant by `on` and `spacing`.

    Args:
        on: A `Grid`; an image, in any form that `as_image` takes; a grid file, see `read_grid`; a
            number, which is a spacing; None.
        spacing: Voxel size, mm, one or one for each axis. With `on`, its grid is taken at this
            spacing. Without, the box that holds the whole moving image after the transforms, along
            the axes of the moving image.
        moving: Grid of the moving image.
        through: Transforms from the fixed to the moving world, the first acts first.

    Raises:
        ValueError: if neither is given, or the spacing is none.
    """
    if isinstance(on, int | float) and not isinstance(on, bool):
        if spacing is not None:
            raise ValueError(f"on={on} is a spacing, and spacing={spacing} another; give one")
        on, spacing = None, float(on)
    if on is None and spacing is None:
        raise ValueError(
            "to warp an image give the one whose grid it should get, --on FIXED, or the size of "
            "its voxels in mm, --spacing 2"
        )
    if on is None:
        assert spacing is not None
        return around(moving, through, _lengths(spacing, moving.dim))
    grid = grid_of(on)
    return grid if spacing is None else at_spacing(grid, _lengths(spacing, grid.dim))


def grid_of(value: Any) -> Grid:
    """The grid of an image, or of a grid file."""
    if isinstance(value, Grid):
        return value
    if isinstance(value, Image):
        return value.grid
    if isinstance(value, ImageFile):
        return value.image.grid
    if isinstance(value, str | Path) and Path(value).suffix.lower() == ".json":
        return read_grid(value)
    found = (
        grid_in(Path(value)) if isinstance(value, str | Path) and Path(value).is_file() else None
    )
    return as_stored(value, keep="all").grid if found is None else found


def read_grid(path: str | Path) -> Grid:
    """A grid file: JSON with `shape` and `affine`, voxel index to RAS+ mm.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not one.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        content = json.loads(path.read_text("utf-8"))
        return Grid(tuple(content["shape"]), np.array(content["affine"], np.float64))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{path} is not a grid file, such as {{"shape": [91, 109, 91], "affine": [[2, 0, 0, '
            f"-90], …]}}: {error}"
        ) from None


def at_spacing(grid: Grid, spacing: np.ndarray) -> Grid:
    """The same place with voxels of another size: as many as cover it, about the same middle."""
    shape = tuple(
        int(n) for n in np.maximum(1, np.ceil(grid.extent / spacing - 1e-6)).astype(np.int64)
    )
    affine = grid.affine.copy()
    affine[:-1, :-1] = grid.direction * spacing
    affine[:-1, -1] = grid.centre - affine[:-1, :-1] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def around(moving: Grid, through: Sequence[Transform], spacing: np.ndarray) -> Grid:
    """The box that holds a moving image in the fixed world, along the axes of the image."""
    ends = [np.linspace(-0.5, n - 0.5, PROBES) for n in moving.shape]
    points = torch.as_tensor(moving.to_world(np.array(list(product(*ends)))))[None]
    with torch.no_grad():
        for transform in reversed(list(through)):
            points = transform.inverse()(points)
    index = moving.to_index(points[0].numpy())
    low, high = index.min(0), index.max(0)
    # a grid of one voxel that is the box; what is rounding must not add a row of voxels
    affine = moving.affine.copy()
    affine[:-1, :-1] = moving.affine[:-1, :-1] * np.maximum(high - low, 1e-6)
    affine[:-1, -1] = moving.to_world((low + high) / 2)
    return at_spacing(Grid((1,) * moving.dim, affine), spacing)


def _lengths(spacing: float | Sequence[float], dim: int) -> np.ndarray:
    values = np.atleast_1d(np.array(spacing, np.float64))
    if len(values) not in (1, dim) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(
            f"a spacing is one length above 0 mm, or {dim} of them, not {np.array(spacing)}"
        )
    return np.broadcast_to(values, dim)

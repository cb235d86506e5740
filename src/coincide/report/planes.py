"""Planes: the middle of a volume as pictures in a row."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as Picture

from coincide.report.lattice import facing, spaced
from coincide.space.grid import Grid

HEIGHT = 220  # pixels of a picture


def middle_planes(grid: Grid) -> list[Grid]:
    """The middle planes, one voxel thick, of square pixels, with axes as on a radiologist's screen.

    The first axis runs to the left of the person, then to the back, then to the feet.
    """
    whole = facing(grid)
    square = spaced(whole, np.full(grid.dim, grid.finest))
    if grid.dim == 2:
        return [square]
    found = []
    for axis in reversed(range(grid.dim)):  # axial, coronal, sagittal
        start, stop = [0] * grid.dim, list(square.shape)
        start[axis], stop[axis] = square.shape[axis] // 2, square.shape[axis] // 2 + 1
        found.append(square.crop(start, stop))
    return found


def upright(plane: np.ndarray) -> np.ndarray:
    """Channels (C, *S) of a plane as rows of the screen, (rows, columns, C)."""
    thin = [axis for axis, n in enumerate(plane.shape[1:], start=1) if n == 1][:1]
    return plane.squeeze(tuple(thin) if plane.ndim == 4 else ()).T


def in_rows(rows: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Pictures (H, W, 3) of bytes side by side, all as high, row under row, as a PNG."""
    made = [np.concatenate([_high(one) for one in row], 1) for row in rows]
    stream = io.BytesIO()
    Picture.fromarray(np.concatenate(made)).save(stream, "PNG")
    return stream.getvalue()


def _high(picture: np.ndarray) -> np.ndarray:
    """A picture of the common height, with a thin border."""
    width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
    scaled = Picture.fromarray(picture).resize((width, HEIGHT), Picture.Resampling.BILINEAR)
    return np.pad(np.asarray(scaled), ((1, 1), (1, 1), (0, 0)))

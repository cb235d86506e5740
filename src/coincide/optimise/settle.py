"""Settle: make an optimised field fit to be kept: no folds, and calm where the images end."""

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.space.grid import Grid
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.symmetric import Symmetric

LEAST = 0.05  # volume change below which a place counts as about to fold


def settled(transform: Displacement | Symmetric) -> Displacement | Symmetric:
    """The field, or both halves, without folds and brought to zero around the grid.

    A field that ends abruptly would fold where it meets the undisturbed outside, so the grid is
    widened, and beyond each face its value fades over two and a half times the longest there.

    Args:
        transform: What lies on the working grid, mm.
    """
    assert transform.grid is not None
    if isinstance(transform, Displacement):
        (field,), wide = _faded([transform.field], transform.grid)
        return Displacement(transform.spacing, field=field, grid=wide)
    (first, second), wide = _faded([transform.fixed_half, transform.moving_half], transform.grid)
    return Symmetric(transform.spacing, fixed_half=first, moving_half=second, grid=wide)


def unfolded(field: Field, grid: Grid, *, rounds: int = 20) -> Field:
    """The field smoothed where, and only where, it folds or is about to.

    Args:
        field: (B, D, *S), mm.
        grid: Where it lies.
        rounds: Largest number of passes; each smooths a neighbourhood of what still folds.
    """
    field = field.clone()
    low = determinant(field, grid) < LEAST
    for count in range(rounds):
        places = torch.nonzero(low)[:, 2:]
        if not len(places):
            break
        start, stop = _box(places, grid.shape, reach=8)
        box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))
        sigma = 1.0 + 0.1 * count
        part = field[box].contiguous()
        weight = gaussian(low[box].float(), [1.5] * grid.dim).mul_(8).clamp_max_(1)
        field[box] = part = torch.lerp(part, gaussian(part, [sigma] * grid.dim), weight)
        # nothing has changed where the weight is zero, as at the faces of the box
        low[box] = (determinant(part, grid.crop(start, stop)) < LEAST) & (weight > 0)
    return field


def _faded(fields: list[Field], grid: Grid) -> tuple[list[Field], Grid]:
    """Fields without folds that fade to zero on one wider grid."""
    fields = [unfolded(field.detach(), grid) for field in fields]
    border = np.max([_border(field) for field in fields], 0)
    pad = np.ceil(2.5 * border / grid.spacing[:, None]).astype(int) + 2
    pad[np.array(grid.shape) == 1] = 0
    wide = grid.crop((-pad[:, 0]).tolist(), (grid.shape + pad[:, 1]).tolist())
    sides = pad[::-1].ravel().tolist()
    grown = [torch.nn.functional.pad(field, sides, mode="replicate") for field in fields]
    for field in grown:
        _fade(field, pad)
    return grown, wide


def _fade(grown: Field, pad: np.ndarray) -> None:
    """Bring to zero, in place, what lies beyond each face: pad (D, 2) voxels."""
    for axis, (before, after) in enumerate(pad.tolist(), start=2):
        shape = [-1 if d == axis else 1 for d in range(grown.ndim)]
        grown.narrow(axis, 0, before).mul_(_ramp(before).view(shape))
        last = grown.shape[axis] - after
        grown.narrow(axis, last, after).mul_(_ramp(after).flip(0).view(shape))


def _ramp(count: int) -> torch.Tensor:
    """From 0 smoothly towards 1."""
    rise = torch.arange(count) / max(count, 1)
    return rise * rise * (3 - 2 * rise)


def _border(field: Field) -> np.ndarray:
    """Longest displacement on the first and on the last face across each axis, (D, 2) mm."""
    size = [
        [float(field.select(axis, end).square().sum(1).max()) for end in (0, -1)]
        for axis in range(2, field.ndim)
    ]
    return np.sqrt(size)


def _box(places: torch.Tensor, shape: tuple[int, ...], reach: int) -> tuple[list[int], list[int]]:
    """First and one past the last voxel, along each axis, within reach of places (N, D)."""
    start = (places.amin(0) - reach).clamp_min(0)
    stop = torch.minimum(places.amax(0) + 1 + reach, torch.tensor(shape))
    return start.tolist(), stop.tolist()

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
    widened and the border value fades over a distance of two and a half times its length.

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
    for count in range(rounds):
        low = determinant(field, grid) < LEAST
        if not bool(low.any()):
            break
        start, stop = _box(low, reach=8)
        box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))
        sigma = 1.0 + 0.1 * count
        part = field[box].contiguous()
        weight = gaussian(low[box].float(), [1.5] * grid.dim).mul_(8).clamp_max_(1)
        field[box] = torch.lerp(part, gaussian(part, [sigma] * grid.dim), weight)
    return field


def _faded(fields: list[Field], grid: Grid) -> tuple[list[Field], Grid]:
    """Fields without folds that fade to zero on one wider grid."""
    fields = [unfolded(field.detach(), grid) for field in fields]
    border = max(_border(field) for field in fields)
    pad = [
        int(np.ceil(2.5 * border / s)) + 2 if n > 1 else 0
        for n, s in zip(grid.shape, grid.spacing, strict=True)
    ]
    wide = grid.crop([-p for p in pad], [n + p for n, p in zip(grid.shape, pad, strict=True)])
    sides = [p for p in reversed(pad) for _ in range(2)]
    return [
        _faded_out(torch.nn.functional.pad(field, sides, mode="replicate"), pad) for field in fields
    ], wide


def _faded_out(grown: Field, pad: list[int]) -> Field:
    for axis, p in enumerate(pad, start=2):
        n = grown.shape[axis]
        away = torch.arange(n).clamp_max(p).minimum((n - 1 - torch.arange(n)).clamp_max(p))
        fade = away / p if p else torch.ones(n)
        fade = fade * fade * (3 - 2 * fade)
        grown.mul_(fade.view([-1 if d == axis else 1 for d in range(grown.ndim)]))
    return grown


def _border(field: Field) -> float:
    size = field.square().sum(1)
    faces = [
        size.select(axis, end).max()
        for axis in range(1, size.ndim)
        if size.shape[axis] > 1
        for end in (0, -1)
    ]
    return float(torch.stack(faces).max().sqrt())


def _box(where: torch.Tensor, reach: int) -> tuple[list[int], list[int]]:
    """First and one past the last voxel, along each axis, of what is within reach of `where`."""
    places = torch.nonzero(where)[:, 2:]
    start = (places.amin(0) - reach).clamp_min(0)
    stop = torch.minimum(places.amax(0) + 1 + reach, torch.tensor(where.shape[2:]))
    return start.tolist(), stop.tolist()

"""Settle: make an optimised field fit to be kept: no folds, and calm where the images end."""

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.space.grid import Grid
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.sampled import upsampled

LEAST = 0.05  # volume change below which a place counts as about to fold


def settled(transform: Displacement) -> Displacement:
    """The field without folds and brought to zero around its grid.

    A field that ends abruptly would fold where it meets the undisturbed outside, so the grid is
    widened and the border value fades over a distance of two and a half times its length.

    Args:
        transform: Displacement on the working grid, mm.
    """
    assert transform.grid is not None
    field = unfolded(transform.field.detach(), transform.grid)
    border = _border(field)
    pad = [
        int(np.ceil(2.5 * border / s)) + 2 if n > 1 else 0
        for n, s in zip(transform.grid.shape, transform.grid.spacing, strict=True)
    ]
    wide = transform.grid.crop(
        [-p for p in pad], [n + p for n, p in zip(transform.grid.shape, pad, strict=True)]
    )
    grown = upsampled(field, transform.grid, wide)
    for axis, p in enumerate(pad, start=2):
        n = grown.shape[axis]
        away = torch.arange(n).clamp_max(p).minimum((n - 1 - torch.arange(n)).clamp_max(p))
        fade = away / p if p else torch.ones(n)
        fade = fade * fade * (3 - 2 * fade)
        grown.mul_(fade.view([-1 if d == axis else 1 for d in range(grown.ndim)]))
    return Displacement(transform.spacing, field=grown, grid=wide)


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
    start, stop = [], []
    for axis in range(2, where.ndim):
        others = tuple(d for d in range(where.ndim) if d != axis)
        some = torch.nonzero(where.sum(others))
        start.append(max(0, int(some.min()) - reach))
        stop.append(min(where.shape[axis], int(some.max()) + 1 + reach))
    return start, stop

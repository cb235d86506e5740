"""Settle: make an optimised transform fit to keep: no folds, and fading out around its grid."""

from functools import singledispatch

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.space.grid import Grid
from coincide.space.shapes import Field
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.parameter import frozen_like, has_graph
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform

LEAST = 0.05  # volume change below which a place counts as about to fold


@singledispatch
def unfolded(transform: Transform) -> Transform:
    """The transform without folds, and brought to zero around its grid.

    A displacement, both halves of a symmetric one, and these within a chain are mended. Whatever
    else is returned as it is: a linear map or a velocity does not fold, and a lattice of control
    points or a network has no voxels that could be smoothed alone.

    A field that ends abruptly would fold where it meets the undisturbed outside, so the grid is
    widened, and beyond each face its value fades over two and a half times the longest there.

    Args:
        transform: What was optimised or found.

    Raises:
        ValueError: if it is still trained through: what is smoothed, and how often, has no
            derivative.
    """
    return transform


@unfolded.register
def _(transform: Displacement) -> Displacement:
    if transform.grid is None:
        return transform
    (field,), wide = _faded([transform.field], transform.grid)
    return frozen_like(Displacement(transform.spacing, field=field, grid=wide), transform)


@unfolded.register
def _(transform: Symmetric) -> Symmetric:
    if transform.grid is None:
        return transform
    (first, second), wide = _faded([transform.fixed_half, transform.moving_half], transform.grid)
    made = Symmetric(transform.spacing, fixed_half=first, moving_half=second, grid=wide)
    return frozen_like(made, transform)


@unfolded.register
def _(transform: Composite) -> Composite:
    return Composite([unfolded(member) for member in transform])


def unfold_field(field: Field, grid: Grid, *, rounds: int = 20) -> Field:
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
        # wider from round to round, for what the last one did not open
        sigma = 1.0 + 0.1 * count
        part = field[box].contiguous()
        # eight times, so that it reaches 1 where some voxels fold together, and fades around them
        weight = gaussian(low[box].float(), [1.5] * grid.dim).mul_(8).clamp_max_(1)
        field[box] = part = torch.lerp(part, gaussian(part, [sigma] * grid.dim), weight)
        # nothing has changed where the weight is zero, as at the faces of the box
        low[box] = (determinant(part, grid.crop(start, stop)) < LEAST) & (weight > 0)
    return field


def _faded(fields: list[Field], grid: Grid) -> tuple[list[Field], Grid]:
    """Fields without folds that fade to zero on one wider grid."""
    if any(has_graph(field) for field in fields):
        raise ValueError(
            "this field was computed and is still trained through, and unfolding has no "
            "derivative; unfold it under torch.no_grad(), or after requires_grad_(False)"
        )
    fields = [unfold_field(field.detach(), grid) for field in fields]
    border = np.max([_border(field) for field in fields], 0)
    # the ramp is 1.5 at its steepest: over 2.5 lengths a displacement falls by at most 0.6 mm a mm
    pad = np.ceil(2.5 * border / grid.spacing[:, None]).astype(int) + 2
    # an axis of one voxel has no outside
    pad[np.array(grid.shape) == 1] = 0
    wide = grid.crop((-pad[:, 0]).tolist(), (grid.shape + pad[:, 1]).tolist())
    # torch counts the axes to pad from the last
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

"""Tiles: an image seen through transforms, block after block, so that memory stays bounded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.files.stored import Stored
from coincide.kernels.interpolate import interpolate
from coincide.kernels.warp import warp
from coincide.space.grid import Grid
from coincide.space.sampling import Interpolation
from coincide.transforms.bspline_velocity import BSplineVelocity
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import Velocity

TILE = (64, 64, 128)  # voxels of a tile, at most
BOX = 1 << 22  # voxels of the moving image that a tile may look at; where it is more, it is halved
# how far beyond a position values are needed: the neighbours, and as far as a B-spline remembers
MARGIN = {"linear": 2, "nearest": 2, "label": 2, "cubic": 40}
Box = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Look:
    """How an image is looked at.

    Args:
        source: What is looked at.
        through: Transforms in the order in which points of the result go through them.
        interpolation: As in `coincide.space.sampling.resample`.
        outside: Value where there is nothing to see.
        dtype: Number type of the result; whole numbers are rounded and kept within its limits.
    """

    source: Stored
    through: Sequence[Transform]
    interpolation: Interpolation
    outside: float
    dtype: np.dtype


def tiled(look: Look, grid: Grid, *, tile: Sequence[int] = TILE) -> np.ndarray:
    """The voxels of a grid, (*S) or (*S, C), in file order.

    Every voxel is computed from its own index alone, in double precision, so that the tiles give
    the same bits however large they are.
    """
    source = look.source
    shape = (*grid.shape, source.array.shape[-1]) if source.channels else grid.shape
    out = np.empty(shape, look.dtype, order="F")
    whole = bool(source.array.dtype.kind in "iub") or _finite(source.array)
    starts = [range(0, n, t) for n, t in zip(grid.shape, tile, strict=False)]
    # the last axis changes slowest in a file, so its blocks are written one after the other
    for corner in np.ndindex(*(len(r) for r in starts[::-1])):
        box = tuple(
            slice(r[c], min(r[c] + t, n))
            for r, c, t, n in zip(starts, corner[::-1], tile, grid.shape, strict=False)
        )
        _fill(look, grid, box, out, holes=not whole)
    return out


def _fill(look: Look, grid: Grid, tile: Box, out: np.ndarray, *, holes: bool) -> None:
    points = route(_world(grid, tile), look.through)
    own = look.source.grid
    index = _linear(own.inverse, points)
    box = _box(index, own.shape, MARGIN[look.interpolation])
    size = int(np.prod([b.stop - b.start for b in box]))
    long = int(np.argmax([t.stop - t.start for t in tile]))
    if size > BOX and tile[long].stop - tile[long].start > 1:
        middle = (tile[long].start + tile[long].stop) // 2
        for part in (slice(tile[long].start, middle), slice(middle, tile[long].stop)):
            _fill(look, grid, (*tile[:long], part, *tile[long + 1 :]), out, holes=holes)
        return
    if size == 0:
        out[tile] = look.outside
        return
    known = _inside(index, own.shape)
    channels = look.source.array.shape[-1] if look.source.channels else 1
    group = max(1, BOX // size)
    for first in range(0, channels, group):
        last = min(channels, first + group)
        values = _values(look, box, index, slice(first, last), known, holes=holes)
        if look.source.channels:
            out[(*tile, slice(first, last))] = np.moveaxis(values, 0, -1)
        else:
            out[tile] = values[0]


def _values(
    look: Look, box: Box, index: list[Tensor], channels: slice, known: Tensor, *, holes: bool
) -> np.ndarray:
    """Values (C, *tile) in the type of the result."""
    source = look.source
    array = source.array[(*box, channels)] if source.channels else source.array[box][..., None]
    # axes backwards, as then the first one of the file is contiguous
    exact = array.dtype.kind in "iub" and look.interpolation in ("nearest", "label")
    # a copy: the bytes of a file must not be written to
    volume = np.array(array.T, np.int64 if exact else np.float64, order="C")
    if source.slope != 1 or source.intercept != 0:
        volume = volume * source.slope + source.intercept
    at = [one - b.start for one, b in zip(index, box, strict=True)]
    if holes:
        good = np.isfinite(volume)
        volume = np.where(good, volume, 0)
        way = "linear" if look.interpolation == "cubic" else look.interpolation
        weight = _sampled(good.astype(np.float64), at, way)
        found = _sampled(volume, at, look.interpolation)
        if look.interpolation == "linear":  # what is known beside a hole counts for all of it
            found = found / weight.clamp_min(0.5)
        seen = known & (weight >= 0.5)
    else:
        found, seen = _sampled(volume, at, look.interpolation), known
    outside = torch.tensor(look.outside, dtype=found.dtype)
    result = torch.where(seen, found, outside).numpy()
    if look.dtype.kind in "iu" and result.dtype.kind == "f":
        limits = np.iinfo(look.dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.transpose(0, *range(1, result.ndim)[::-1]).astype(look.dtype, copy=False)


def route(points: list[Tensor], through: Sequence[Transform]) -> list[Tensor]:
    """Coordinates of points, one tensor each, after transforms, the first of which acts first."""
    for transform in through:
        if isinstance(transform, Linear):
            points = _linear(transform.numpy(), points)
        elif isinstance(transform, Displacement):
            points = _displaced(transform, points)
        else:
            flat = torch.stack([one.reshape(-1) for one in points], -1)[None]
            moved = transform(flat)[0]
            points = [moved[:, d].reshape(one.shape) for d, one in enumerate(points)]
    return points


def settled(transforms: Sequence[Transform]) -> list[Transform]:
    """The same maps, flat, with everything done that would be done anew for each tile.

    Args:
        transforms: In the order in which points go through them.
    """
    found: list[Transform] = []
    for transform in transforms:
        if isinstance(transform, Composite):
            found.extend(settled(list(transform)[::-1]))
        elif isinstance(transform, Velocity) and transform.grid is not None:
            found.append(Displacement(field=transform.integrated(), grid=transform.grid))
        elif isinstance(transform, BSplineVelocity) and transform.field_grid is not None:
            found.append(Displacement(field=transform.integrated(), grid=transform.field_grid))
        elif isinstance(transform, Symmetric) and transform.grid is not None:
            halves = transform.middle(), transform.moving_half
            found.extend(Displacement(field=half, grid=transform.grid) for half in halves)
        else:
            found.append(transform)
    return found


def _world(grid: Grid, tile: Box) -> list[Tensor]:
    """Positions of the voxels of a tile, axes backwards, mm; from their index in the whole grid."""
    dim = grid.dim
    index = []
    for axis, part in enumerate(tile):
        ramp = torch.arange(part.start, part.stop, dtype=torch.float64)
        shape = [-1 if d == dim - 1 - axis else 1 for d in range(dim)]
        index.append(ramp.view(shape))
    points = _linear(grid.affine, index)
    shape = [t.stop - t.start for t in tile][::-1]
    return [one.expand(shape) for one in points]


def _linear(matrix: np.ndarray, points: list[Tensor]) -> list[Tensor]:
    # sums of products one by one: a product of matrices rounds differently from size to size
    moved = []
    for row in np.asarray(matrix)[:-1].tolist():
        total = points[0] * row[0]
        for value, one in zip(row[1:-1], points[1:], strict=True):
            total = total + one * value
        moved.append(total + row[-1])
    return moved


def _displaced(transform: Displacement, points: list[Tensor]) -> list[Tensor]:
    own = transform.grid
    if own is None:
        return points
    index = _linear(own.inverse, points)
    box = _box(index, own.shape, MARGIN["linear"])
    if any(b.stop <= b.start for b in box):
        return points
    dim = own.dim
    field = transform.field.detach()[0][(slice(None), *box)]
    volume = field.permute(0, *range(1, dim + 1)[::-1]).to(torch.float64).contiguous().numpy()
    at = [one - b.start for one, b in zip(index, box, strict=True)]
    # beyond its grid a displacement is zero, which is what is found outside the box, too
    shift = _sampled(volume, at, "linear")
    return [one + u for one, u in zip(points, shift, strict=True)]


def _sampled(volume: np.ndarray, at: list[Tensor], kind: Interpolation) -> Tensor:
    """Values (C, *tile) of a volume (C, *box), axes backwards, at positions in its voxels."""
    dim = len(at)
    # the positions are the displacement of voxels that all start at voxel zero
    field = torch.stack(at[::-1], 0)[None]
    source = torch.from_numpy(volume)[None]
    still, scale = np.zeros((dim, dim + 1)), np.eye(dim)
    if kind == "linear":
        return warp(source, field, still, scale)[0][0]
    return interpolate(source, field, still, scale, tuple(field.shape[2:]), kind)[0]


def _box(index: list[Tensor], shape: tuple[int, ...], margin: int) -> Box:
    """Voxels that positions look at; empty where all lie outside."""
    box = []
    for one, n in zip(index, shape, strict=True):
        low, high = one.aminmax()
        start = int(min(max(np.floor(float(low)) - margin, 0), n))
        stop = int(max(min(np.ceil(float(high)) + margin + 1, n), start))
        outside = float(low) > n - 0.5 or float(high) < -0.5
        box.append(slice(start, start if outside else stop))
    return tuple(box)


def _inside(index: list[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Whether positions lie in the cell of some voxel."""
    known = torch.tensor(True)
    for one, n in zip(index, shape, strict=True):
        known = known & (one >= -0.5) & (one <= n - 0.5)
    return known


def _finite(array: np.ndarray) -> bool:
    """Whether every value is a number; a sum is only then."""
    parts = (array,) if array.ndim < 3 else np.moveaxis(array, 2, 0)
    return all(bool(np.isfinite(part.sum(dtype=np.float64))) for part in parts)

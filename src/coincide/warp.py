"""Warp: an image, a label map or points brought to another image by transforms."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from coincide.destination import destination, grid_of
from coincide.files.accept import BARE, as_stored
from coincide.files.alike import alike
from coincide.files.label_map import label_values
from coincide.files.read import ImageFile
from coincide.files.stored import Stored, labels, refuse_nothing
from coincide.route import Step, joined, steps
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import Interpolation
from coincide.tiles import Look, settled, tiled

How = Literal["auto", "linear", "nearest", "cubic", "label"]
AIR = -500.0  # below it a lowest value is one of CT, where nothing is -1000 and 0 is water


@dataclass(frozen=True, eq=False)
class Warped:
    """A warped image, and what was decided on the way.

    Args:
        array: (*S), or (*S, C) where `channels` says so, in file order.
        grid: Where its voxels lie.
        channels: As in `Stored`.
        notes: What was decided or odd, one sentence each.
        interval: Time between frames, s; 0: unknown.
        intent: As in `Stored`.
    """

    array: np.ndarray
    grid: Grid
    channels: str
    notes: tuple[str, ...]
    interval: float = 0.0
    intent: int = 1007


def warp(
    moving: Any,
    transforms: Step | Sequence[Step] = (),
    *,
    on: Any = None,
    spacing: float | Sequence[float] | None = None,
    interpolation: How = "auto",
    outside: float | None = None,
    frame: int | None = None,
    series: str | None = None,
) -> Any:
    """Bring an image onto the grid of another by one transform or several, interpolated once.

    Several transforms are listed from the fixed image to the moving one, as for
    `antsApplyTransforms`: a point of the fixed image goes through the first, then the second, and
    arrives in the moving image, where its value is looked up. Seen from the moving image, the last
    one acts first. `warp(m, [deformation, affine])` is `warp(m, affine @ deformation)`. What
    `register` gives is one transform, and holds everything.

    All channels, colours and frames are warped; vectors are moved, not turned. Labels are
    recognised, see `coincide.files.label_map.label_values`. Memory stays bounded: beside the two
    images only some blocks of them are held.

    Args:
        moving: Anything that `as_image` takes, 2-D or 3-D, with any number of channels or frames.
        transforms: Transforms or their files; `inverse:` before the name of a file turns it round.
            None: the image is only resampled.
        on: Whose grid the result gets: an image, its file, a `Grid`, or a grid file (JSON with
            shape and affine). A number counts as `spacing`.
        spacing: Voxel size, mm, one or one for each axis: that of the result on the place of `on`;
            without `on`, on the box that the moving image takes up in the fixed world.
        interpolation: `auto` (`label` for label maps, `linear` for others), `linear`, `cubic`,
            `nearest`, or `label` (the label with most weight among the neighbours).
        outside: Value where the moving image does not reach. None: its lowest value if that is
            below -500, as in CT, otherwise 0.
        frame: Only this one of several frames or channels, from 0.
        series: UID of the DICOM series, where a folder holds several.

    Returns:
        An image of the type of `moving`: of nibabel, SimpleITK, MONAI, TorchIO or ANTs, an array or
        a tensor, in its number type; an `Image` for paths.

    Raises:
        ValueError: if a file cannot be read, no grid is given, or numbers of axes differ.

    Example:
        >>> from coincide.transforms.linear import Translation
        >>> shift = Translation([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        >>> warp(image, [shift], on=image).grid == image.grid
        True
    """
    found = warped(
        source_of(moving, frame=frame, series=series),
        steps(transforms),
        on=on,
        spacing=spacing,
        interpolation=interpolation,
        outside=outside,
    )
    if BARE in found.notes:
        warnings.warn(BARE, UserWarning, stacklevel=2)
    return alike(found.array, found.grid, moving)


def warped(
    source: Stored,
    route: Sequence[tuple[Step, bool]],
    *,
    on: Any = None,
    spacing: float | Sequence[float] | None = None,
    interpolation: How = "auto",
    outside: float | None = None,
) -> Warped:
    """The same with everything that was decided; see `warp`.

    Args:
        source: What is warped.
        route: Transforms and whether each is turned round, see `coincide.route.steps`.
        on: See `warp`.
        spacing: See `warp`.
        interpolation: See `warp`.
        outside: See `warp`.
    """
    refuse_nothing(source)
    own = source.grid
    end = None if on is None or isinstance(on, int | float) else grid_of(on)
    through = joined(route, own.dim, (end, own))
    grid = destination(on if end is None else end, spacing, own, through)
    if grid.dim != own.dim:
        raise ValueError(
            f"the moving image has {own.dim} axes and the grid it should get {grid.dim}"
        )
    how, notes = _interpolation(source, interpolation)
    value = _outside(source, how) if outside is None else float(outside)
    dtype = _type_of(source, how)
    if dtype.kind in "iu" and not _fits(value, dtype):
        raise ValueError(f"the value {value:g} for outside does not fit the image's {dtype}")
    with torch.no_grad():
        array = tiled(Look(source, settled(through), how, value, dtype), grid)
    notes = (*source.warnings, *notes)
    if source.channels == "vectors":
        notes = (*notes, "the numbers of a voxel are moved with it; as vectors they are not turned")
    return Warped(array, grid, source.channels, notes, source.interval, source.intent)


def source_of(value: Any, *, frame: int | None = None, series: str | None = None) -> Stored:
    """What is warped, with all of its channels and frames, unless one is chosen."""
    if isinstance(value, ImageFile):
        value = value.image
    if isinstance(value, Image):
        if len(value.data) != 1:
            raise ValueError(
                f"this is a batch of {len(value.data)} images; warp them one by one: image.pair(0)"
            )
        data = value.data[0].detach().cpu().numpy()
        data = data if frame is None else data[frame : frame + 1]
        several = len(data) > 1
        array = np.moveaxis(data, 0, -1) if several else data[0]
        return Stored(array, value.grid.affine, channels="frames" if several else "")
    affine = None
    if isinstance(value, tuple) and len(value) == 2:
        value, affine = value
    return as_stored(value, affine=affine, frame=frame, series=series, keep="all")


def warp_points(
    points: np.ndarray, transforms: Step | Sequence[Step], *, inverse: Sequence[int] = ()
) -> np.ndarray:
    """Bring points of the fixed image to the moving one, through transforms as they are listed.

    Args:
        points: (P, D), RAS+ mm.
        transforms: As in `warp`; points of the moving image go with their inverses, listed the
            other way round.
        inverse: Which are to be turned round, counted from 1.

    Returns:
        (P, D), RAS+ mm.
    """
    return moved(points, steps(transforms, inverse), (None, None))


def moved(
    points: np.ndarray,
    route: Sequence[tuple[Step, bool]],
    ends: tuple[Grid | None, Grid | None],
) -> np.ndarray:
    """The same with what FSL's matrices need: the grids of the two images."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points must be (P, 2) or (P, 3), these are {points.shape}")
    there = torch.as_tensor(points)[None]
    with torch.no_grad():
        for transform in joined(route, points.shape[1], ends):
            there = transform(there)
    return there[0].numpy()


def _interpolation(source: Stored, wanted: How) -> tuple[Interpolation, tuple[str, ...]]:
    if wanted == "label":
        if source.array.dtype.kind not in "ib" or source.slope != 1 or source.intercept != 0:
            labels(source)  # refuses fractions, and what no integer holds, naming one
        return wanted, ()
    if wanted != "auto":
        return wanted, ()
    count = label_values(source)
    if not count:
        return "linear", ()
    return "label", (
        f"the image holds {count} different whole numbers and is taken as a label map, so that "
        "labels stay what they are; --interpolation linear (interpolation='linear') overrules",
    )


def _outside(source: Stored, how: Interpolation) -> float:
    if how == "label" or source.channels in ("colour", "vectors"):
        return 0.0
    low = float(np.fmin.reduce(source.array, axis=None)) * source.slope + source.intercept
    return low if low < AIR else 0.0


def _type_of(source: Stored, how: Interpolation) -> np.dtype:
    """The number type of the image; scaled numbers, and those between labels, are float32."""
    kind = source.array.dtype
    if kind.kind in "iu" and source.slope == 1 and source.intercept == 0:
        return kind.newbyteorder("=")
    if kind.kind == "b":
        return np.dtype(np.uint8)
    if kind.kind == "c":
        raise ValueError(
            "the voxels are complex numbers; save their magnitude, for instance numpy.abs, first"
        )
    return np.dtype(np.float64 if kind == np.float64 and how == "label" else np.float32)


def _fits(value: float, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return value == round(value) and limits.min <= value <= limits.max

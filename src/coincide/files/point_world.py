"""Point world: what the numbers of landmarks mean, and where that is in RAS."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from coincide.files.lps import flip
from coincide.files.point_file import PointFile
from coincide.space.grid import Grid

Where = Mapping[str, Sequence[str]]
WORLDS = ("ras", "lps", "pixel")


def named_world(world: str | None) -> str:
    """The world that was asked for, `auto` for none.

    Raises:
        ValueError: if there is no such world.
    """
    if world not in (None, "auto", *WORLDS):
        raise ValueError(f"no world is called {world!r}; known: auto, {', '.join(WORLDS)}")
    return world or "auto"


def worldless(grid: Grid) -> bool:
    """Whether a grid is what an image gets that has no world: voxels of 1 mm along x and y of LPS.

    So are pictures placed, and what SimpleITK makes of an array.
    """
    bare = np.diag([*flip(grid.dim), 1.0])
    return bool(np.allclose(grid.affine, bare, atol=1e-6))


def world_of(file: PointFile, wanted: str, grid: Grid | None) -> str:
    """What the numbers of a file mean: `ras`, `lps` or `pixel`.

    What is wanted counts first, then what the file says. A table says nothing: its points are RAS,
    but pixels where the image has no world. There a point inside the image has coordinates of
    0 to n as a pixel, -n to 0 in RAS, so that the two can hardly be confused: what puts more points
    into the image is believed.

    Raises:
        ValueError: if the file holds voxels and another world is wanted.
    """
    if file.kind == "transformix" and file.said == "pixel" and wanted not in ("auto", "pixel"):
        raise ValueError(
            f"{file.path} holds voxel indices, which have no other world; leave out world="
        )
    if wanted != "auto":
        return wanted
    if file.said:
        if file.said not in WORLDS:
            raise ValueError(
                f"{file.path} says that its world is {file.said!r}; known: {', '.join(WORLDS)}"
            )
        return file.said
    if grid is None or not worldless(grid):
        return "ras"
    counts = {world: int(_inside(placed(file, world, grid), grid).sum()) for world in WORLDS[::2]}
    return "ras" if counts["ras"] > counts["pixel"] else "pixel"


def placed(file: PointFile, world: str, grid: Grid | None) -> np.ndarray:
    """The points of a file, (P, D), RAS+ mm.

    Raises:
        ValueError: if pixels have no grid, or one of other axes.
    """
    numbers = file.numbers
    # ANTs writes a z of zero for points of two axes
    if grid is not None and grid.dim == 2 and numbers.shape[1] == 3 and not numbers[:, 2].any():
        numbers = numbers[:, :2]
    if world == "lps":
        return numbers * flip(numbers.shape[1])
    if world == "ras":
        return numbers
    if grid is None:
        raise ValueError(
            f"{file.path} holds voxel indices, which mean nothing without their image; give it "
            "(image= in Python, --of in coincide warp), or write mm (LPS) under the word `point`"
        )
    if numbers.shape[1] != grid.dim:
        raise ValueError(
            f"{file.path} holds indices of {numbers.shape[1]} axes, the image has {grid.dim}"
        )
    return grid.to_world(numbers)


def unplaced(points: np.ndarray, world: str, grid: Grid | None, path: Path) -> np.ndarray:
    """RAS points as numbers of another world; the way back from `placed`."""
    if world == "lps":
        return points * flip(points.shape[1])
    if world == "ras":
        return points
    if grid is None:
        raise ValueError(
            f"the points of {path} are pixels; give the image in which they are to be counted now: "
            "--on FIXED"
        )
    return grid.to_index(points)


def outside(file: PointFile, points: np.ndarray, world: str, grid: Grid) -> tuple[str, ...]:
    """A note if points lie outside the image they were marked in.

    Raises:
        ValueError: if points and image have different numbers of axes.
    """
    if points.shape[1] != grid.dim:
        raise ValueError(
            f"the points of {file.path} have {points.shape[1]} axes, their image has {grid.dim}"
        )
    bad = np.flatnonzero(~_inside(points, grid))
    if not len(bad):
        return ()
    note = (
        f"{len(bad)} of {len(points)} points of {file.path.name} lie outside their image "
        f"(points {', '.join(map(str, bad[:5] + 1))}{', …' if len(bad) > 5 else ''}; taken as "
        f"{world})"
    )
    others = {w: _inside(placed(file, w, grid), grid).sum() for w in WORLDS if w != world}
    best = max(others, key=lambda w: others[w])
    if others[best] > len(points) - len(bad):
        note += f"; as {best} {others[best]} would lie inside: say --world {best} (world={best!r})"
    return (note,)


def _inside(points: np.ndarray, grid: Grid) -> np.ndarray:
    if points.shape[1] != grid.dim:
        return np.zeros(len(points), bool)
    index = grid.to_index(points)
    low, high = -0.5 - 1e-6, np.array(grid.shape) - 0.5 + 1e-6
    return np.all((index >= low) & (index <= high), axis=1)

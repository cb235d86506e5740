"""Points: landmarks in tables and in the files of 3D Slicer, ANTs and transformix."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from coincide.files.atomic import atomic
from coincide.files.lps import flip
from coincide.files.point_file import PointFile, known_as
from coincide.files.point_slicer import (
    FCSV,
    TEXT,
    TRUTH,
    fcsv_of,
    markups_of,
    read_fcsv,
    read_markups,
)
from coincide.files.point_table import read_table, table_of
from coincide.files.point_transformix import first_word, read_transformix, transformix_of
from coincide.files.point_world import Where, named_world, outside, placed, unplaced, world_of
from coincide.files.read import load
from coincide.space.grid import Grid
from coincide.space.image import Image

World = Literal["ras", "lps"]
TABLES = (".csv", ".tsv", ".txt")
SUFFIXES = (*TABLES, ".fcsv", ".json", ".pts")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Landmarks in RAS, and the file they came from.

    Args:
        points: (P, D) float64, RAS+ mm.
        world: What the numbers in the file were taken as: `ras`, `lps` or `pixel`.
        file: Everything that stood beside them.
        warnings: What may be wrong, one sentence each.
    """

    points: np.ndarray
    world: str
    file: PointFile
    warnings: tuple[str, ...] = ()


def read_points(
    path: str | Path, *, world: str = "auto", image: Image | Grid | str | Path | None = None
) -> np.ndarray:
    """Read landmarks.

    | file | world of its numbers |
    |---|---|
    | `.csv`, `.tsv`, `.txt` with columns x, y[, z] | RAS; LPS if the name ends in `_lps`; pixels \
      if they belong to an `image` without a world, such as a PNG |
    | `.fcsv`, `.mrk.json` (3D Slicer) | what it says |
    | `point` in the first line (transformix) | LPS |
    | `index` in the first line (transformix) | voxels of `image` |

    A pixel is the index of a voxel along the axes of the file, the first one 0 and its centre a
    whole number.

    Args:
        path: The file. A table may have other columns, or no heading and only numbers.
        world: `ras`, `lps` or `pixel` overrules what the file says.
        image: What the points were marked in, an image, its file or its grid: gives pixels their
            place, and tells whether points lie outside.

    Returns:
        (P, D) float64, RAS+ mm. What may be wrong is said by `warnings.warn`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no points, a coordinate is not a number, or pixels come without
            their image.
    """
    found = load_points(path, world=world, image=image)
    for note in found.warnings:
        warnings.warn(note, UserWarning, stacklevel=2)
    return found.points


def load_points(
    path: str | Path, *, world: str = "auto", image: Image | Grid | str | Path | None = None
) -> Landmarks:
    """Read landmarks with everything that stands beside them; see `read_points`."""
    file = point_file(path)
    if isinstance(image, str | Path):
        image = load(image, frame=0).image
    grid = image.grid if isinstance(image, Image) else image
    chosen = world_of(file, named_world(world), grid)
    points = placed(file, chosen, grid)
    notes = file.notes if world == "auto" and chosen == "ras" else ()
    if grid is not None:
        notes = (*notes, *outside(file, points, chosen, grid))
    return Landmarks(points, chosen, file, notes)


def point_file(path: str | Path) -> PointFile:
    """Landmarks as a file holds them; what it is, is seen from its name and its first line."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # line ends as they are
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} is not text; points are read from {', '.join(SUFFIXES)}"
        ) from None
    name = path.name.lower()
    if name.endswith(".json"):
        return read_markups(text, path)
    if name.endswith(".fcsv"):
        return read_fcsv(text, path)
    if first_word(text) in ("point", "index"):
        return read_transformix(text, path)
    return read_table(text, path)


def write_points(points: np.ndarray, path: str | Path, *, world: World = "ras") -> None:
    """Write landmarks; the suffix says the format.

    `.csv`, `.tsv` and `.txt` are tables with the columns x, y[, z]; `.fcsv` and `.mrk.json` are
    those of 3D Slicer; `.pts` is that of transformix. The last three are always LPS.

    Args:
        points: (P, D), RAS+ mm, D 2 or 3.
        path: Where to; end the name of a table in `_lps` when writing LPS, so that it reads back
            rightly.
        world: World of the numbers in a table.

    Raises:
        ValueError: if the points have another shape, or the name contradicts the world.
    """
    path, points = Path(path), np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points must be (P, 2) or (P, 3), these are {points.shape}")
    if world not in ("ras", "lps"):
        raise ValueError(f"no world is called {world!r}; known: ras, lps")
    if path.suffix.lower() in TABLES and (world == "lps") != path.stem.endswith("_lps"):
        better = f"{path.stem.removesuffix('_lps')}{'_lps' if world == 'lps' else ''}{path.suffix}"
        raise ValueError(f"{path.name} would be read in the wrong world; call it {better}")
    text, _ = _converted(points, {}, path, world)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_moved(
    found: Landmarks, points: np.ndarray, path: str | Path, *, grid: Grid | None = None
) -> tuple[str, tuple[str, ...]]:
    """Write landmarks to other places as they were read: every column, name and number kept.

    In another format than theirs, what both formats can hold is kept.

    Args:
        found: What was read.
        points: (P, D) where its points are now, RAS+ mm.
        path: Where to.
        grid: Voxels of the image they are in now; needed for pixels.

    Returns:
        World of the numbers written, and notes about what the format could not hold.

    Raises:
        ValueError: if the format is not known, or pixels come without their grid.
    """
    path, file = Path(path), found.file
    suffix, own = path.suffix.lower(), file.path.suffix.lower()
    kept = suffix == own or (file.kind == "transformix" and suffix in (".txt", ".pts"))
    world = _world_to_write(found, path, kept=kept)
    notes: tuple[str, ...] = ()
    if kept:
        moved = unplaced(points, world, grid, file.path)
        # where an image of two axes was given, the third coordinate took no part
        moved = np.concatenate([moved, file.numbers[:, moved.shape[1] :]], 1)
        text = file.rewritten(moved)
    else:
        text, notes = _converted(points, file.columns, path, world, grid)
    with atomic(path) as temporary:
        # as it is: line ends are those of the file that was read
        temporary.write_bytes(text.encode("utf-8"))
    return world, notes


def _world_to_write(found: Landmarks, path: Path, *, kept: bool) -> str:
    """That of the file that was read, unless the name of a table says which it has."""
    table = found.file.kind == "table"
    if path.suffix.lower() not in TABLES or (kept and not table):
        return found.world if kept else "lps"
    if path.stem.lower().endswith("_lps"):
        return "lps"
    by_name = table and found.file.said == "lps"
    return found.world if table and not by_name else "ras"


def _converted(
    points: np.ndarray, columns: Where, path: Path, world: str, grid: Grid | None = None
) -> tuple[str, tuple[str, ...]]:
    suffix = path.suffix.lower()
    if suffix in TABLES:
        delimiter = "\t" if suffix == ".tsv" else ","
        return table_of(unplaced(points, world, grid, path), columns, delimiter=delimiter), ()
    if suffix not in SUFFIXES:
        raise ValueError(f"cannot tell the format of {path.name}; known: {', '.join(SUFFIXES)}")
    lps = points * flip(points.shape[1])
    if suffix == ".pts":
        return transformix_of(lps), _lost(columns, (), suffix)
    if lps.shape[1] == 2:  # 3D Slicer has only three axes
        lps = np.concatenate([lps, np.zeros((len(lps), 1))], 1)
    if suffix == ".fcsv":
        return fcsv_of(lps, columns), _lost(columns, known_as(dict.fromkeys(FCSV, ())), suffix)
    return markups_of(lps, columns), _lost(columns, (*TEXT, *TRUTH), suffix)


def _lost(columns: Where, held: object, suffix: str) -> tuple[str, ...]:
    lost = [name for name in known_as(columns) if name not in held]  # type: ignore[operator]
    return (f"{suffix} cannot hold {', '.join(lost)}; .csv can",) if lost else ()

"""Points: landmarks in CSV tables and in the files of 3D Slicer and transformix."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np

from coincide.files.atomic import atomic
from coincide.files.lps import flip
from coincide.space.grid import Grid

World = Literal["ras", "lps"]


def read_points(
    path: str | Path, *, world: World | None = None, grid: Grid | None = None
) -> np.ndarray:
    """Read landmarks.

    | file | world |
    |---|---|
    | `.csv` with columns x, y[, z] | RAS; LPS if the name ends in `_lps` or `world="lps"` |
    | `.fcsv` (3D Slicer) | what its header says |
    | `.mrk.json` (3D Slicer) | what it says, LPS if nothing |
    | `point` in the first line (transformix) | LPS |
    | `index` in the first line (transformix) | voxels of the image whose `grid` is given |

    Args:
        path: The file. A CSV may have other columns, or no heading and only numbers.
        world: Overrules what the file says.
        grid: Voxels that the indices of transformix count: those of its fixed image.

    Returns:
        (P, D) float64, RAS+ mm.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no points, a coordinate is not a number, or indices come without
            a grid.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    text = path.read_text(encoding="utf-8-sig")
    name = path.name.lower()
    if name.endswith(".json"):
        points, said = _from_json(text, path)
    elif name.endswith(".fcsv"):
        points, said = _from_fcsv(text, path)
    elif _first_word(text) in ("point", "index"):
        points = _from_transformix(text, path)
        if _first_word(text) == "index":
            return _placed(points, world, grid, path)
        said = "lps"
    else:
        points, said = _from_csv(text, path), "lps" if path.stem.endswith("_lps") else "ras"
    chosen = said if world is None else world
    if chosen not in ("ras", "lps"):
        raise ValueError(f"no world is called {chosen!r}; known: ras, lps")
    _finite(points, path)
    return points * flip(points.shape[1]) if chosen == "lps" else points


def write_points(points: np.ndarray, path: str | Path, *, world: World = "ras") -> None:
    """Write landmarks as a CSV table with the columns x, y[, z], mm.

    Args:
        points: (P, D), RAS+ mm, D 2 or 3.
        path: Where to; end its name in `_lps` when writing LPS, so that it reads back rightly.
        world: World of the numbers in the file.

    Raises:
        ValueError: if the points have another shape, or the name contradicts the world.
    """
    path, points = Path(path), np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise ValueError(f"points must be (P, 2) or (P, 3), these are {points.shape}")
    if world not in ("ras", "lps"):
        raise ValueError(f"no world is called {world!r}; known: ras, lps")
    if (world == "lps") != path.stem.endswith("_lps"):
        better = f"{path.stem.removesuffix('_lps')}{'_lps' if world == 'lps' else ''}{path.suffix}"
        raise ValueError(f"{path.name} would be read in the wrong world; call it {better}")
    values = points * flip(points.shape[1]) if world == "lps" else points
    lines = [",".join("xyz"[: points.shape[1]])]
    lines.extend(",".join(repr(float(v)) for v in row) for row in values)
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _from_csv(text: str, path: Path) -> np.ndarray:
    rows = [row for row in csv.reader(StringIO(text)) if row and not row[0].startswith("#")]
    if not rows:
        raise ValueError(f"{path} holds no points")
    heading = [cell.strip().lower() for cell in rows[0]]
    columns = [heading.index(axis) for axis in "xyz" if axis in heading]
    if not columns:
        if not _numeric(rows[0]):
            raise ValueError(f"{path} has the columns {', '.join(heading)}; it needs x, y and z")
        columns, body = list(range(len(rows[0]))), rows
    else:
        body = rows[1:]
    if len(columns) not in (2, 3) or not body:
        raise ValueError(f"{path} has {len(body)} points of {len(columns)} axes; give x, y and z")
    return _numbers([[row[c] if c < len(row) else "" for c in columns] for row in body], path)


def _from_fcsv(text: str, path: Path) -> tuple[np.ndarray, str]:
    said, columns = "ras", [1, 2, 3]
    rows = []
    for line in text.splitlines():
        if line.startswith("# CoordinateSystem"):
            value = line.partition("=")[2].strip()
            said = {"0": "ras", "1": "lps", "RAS": "ras", "LPS": "lps"}.get(value, value.lower())
        elif line.startswith("# columns"):
            names = [name.strip() for name in line.partition("=")[2].split(",")]
            columns = [names.index(axis) for axis in "xyz"]
        elif line.strip() and not line.startswith("#"):
            row = next(csv.reader([line]))
            rows.append([row[c] for c in columns])
    if not rows:
        raise ValueError(f"{path} holds no points")
    return _numbers(rows, path), said


def _from_json(text: str, path: Path) -> tuple[np.ndarray, str]:
    try:
        markup = json.loads(text)["markups"][0]
        points = [p["position"] for p in markup["controlPoints"] if p.get("position")]
    except (ValueError, KeyError, IndexError, TypeError):
        raise ValueError(f"{path} is not a 3D Slicer markup file (.mrk.json)") from None
    if not points:
        raise ValueError(f"{path} holds no points")
    return np.array(points, np.float64), str(markup.get("coordinateSystem", "LPS")).lower()


def _first_word(text: str) -> str:
    """What the first line says, in small letters, if it is one word, as transformix writes it."""
    words = text.lstrip().partition("\n")[0].lower().split()
    return words[0] if len(words) == 1 else ""


def _from_transformix(text: str, path: Path) -> np.ndarray:
    _, *lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise ValueError(f"{path} does not say in its second line how many points it holds")
    count, rows = int(lines[0][0]), lines[1:]
    if count != len(rows):
        raise ValueError(f"{path} says {count} points, {len(rows)} lines follow; mend the number")
    if not rows:
        raise ValueError(f"{path} holds no points")
    if len(rows[0]) not in (2, 3) or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{path} needs the same 2 or 3 numbers in every line, apart by spaces")
    return _numbers(rows, path)


def _placed(index: np.ndarray, world: World | None, grid: Grid | None, path: Path) -> np.ndarray:
    _finite(index, path)
    if grid is None:
        raise ValueError(
            f"{path} holds voxel indices, which mean nothing without their image; give its "
            "grid= to read_points, or write mm (LPS) under the word `point`"
        )
    if world is not None:
        raise ValueError(f"{path} holds voxel indices, which have no world; leave out world=")
    if index.shape[1] != grid.dim:
        raise ValueError(f"{path} holds indices of {index.shape[1]} axes, the grid has {grid.dim}")
    return grid.to_world(index)


def _finite(points: np.ndarray, path: Path) -> None:
    if not np.isfinite(points).all():
        rows = np.flatnonzero(~np.isfinite(points).all(1)) + 1
        raise ValueError(f"{path}: points {rows[:8].tolist()} are not numbers; remove them")


def _numeric(row: list[str]) -> bool:
    try:
        [float(cell) for cell in row]
    except ValueError:
        return False
    return True


def _numbers(rows: list[list[str]], path: Path) -> np.ndarray:
    for number, row in enumerate(rows, 1):
        if not _numeric(row):
            raise ValueError(f"{path}: point {number} is {', '.join(row)!r}, not numbers")
    return np.array(rows, np.float64)

"""Point table: landmarks in .csv, .tsv and .txt, with a heading or without."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from coincide.files.point_file import PointFile, numbers, numeric

ANTS = ("x", "y", "z", "t")


def read_table(text: str, path: Path) -> PointFile:
    """The points of a table; every other cell, and every comment, is kept for writing.

    Raises:
        ValueError: if it holds no points, or has no columns x and y.
    """
    ending = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    where = [n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    if not where:
        raise ValueError(f"{path} holds no points")
    delimiter = _delimiter(lines[where[0]])
    cells = {n: _cells(lines[n], delimiter) for n in where}
    heading = [cell.strip().lower() for cell in cells[where[0]]]
    axes = [heading.index(axis) for axis in "xyz" if axis in heading]
    names: list[str] = []
    if axes:
        names = [cell.strip() for cell in cells[where[0]]]
        where = where[1:]
    elif numeric(cells[where[0]]):
        axes = list(range(len(heading)))
    else:
        raise ValueError(f"{path} has the columns {', '.join(heading)}; it needs x, y and z")
    if len(axes) not in (2, 3) or not where:
        raise ValueError(f"{path} has {len(where)} points of {len(axes)} axes; give x, y and z")
    rows = [[cells[n][c] if c < len(cells[n]) else "" for c in axes] for n in where]
    found = numbers(rows, path)

    def rewritten(moved: np.ndarray) -> str:
        out = list(lines)
        for n, point in zip(where, moved, strict=True):
            row = list(cells[n])
            for column, value in zip(axes, point, strict=False):
                row[column] = repr(float(value))
            out[n] = _line(row, delimiter)
        return ending.join(out) + ending

    # the first column of a table that pandas or R has written has numbers and no name
    if names and not names[0] and "id" not in heading:
        names[0] = "id"
    others = [c for c in range(len(names)) if c not in axes and names[c]]
    columns = {names[c]: [cells[n][c] if c < len(cells[n]) else "" for n in where] for c in others}
    said = "lps" if path.stem.lower().endswith("_lps") else ""
    notes: tuple[str, ...] = ()
    if tuple(heading[:4]) == ANTS and not said:
        notes = (
            f"{path.name} has the columns x, y, z, t, as ANTs writes them, whose points are LPS; "
            "if it is from ANTs, say so: --world lps (world='lps')",
        )
    return PointFile(path, "table", found, said, rewritten, columns, notes)


def table_of(
    points: np.ndarray, columns: Mapping[str, Sequence[str]], *, delimiter: str = ","
) -> str:
    """A table with a heading: x, y[, z], then the other columns."""
    rows = [[*"xyz"[: points.shape[1]], *columns]]
    others = zip(*columns.values(), strict=True) if columns else [()] * len(points)
    for point, more in zip(points, others, strict=True):
        rows.append([*(repr(float(v)) for v in point), *more])
    return "\n".join(_line(row, delimiter) for row in rows) + "\n"


def _delimiter(line: str) -> str:
    return next((mark for mark in "\t;," if mark in line), " ")


def _cells(line: str, delimiter: str) -> list[str]:
    # columns of plain numbers may stand any number of blanks apart
    return line.split() if delimiter == " " else next(csv.reader([line], delimiter=delimiter))


def _line(row: Sequence[str], delimiter: str) -> str:
    out = StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(row)
    return out.getvalue()

"""Point file: landmarks as a file holds them, with everything else that stands beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# one thing under the names that tables, .fcsv and .mrk.json have for it
SAME = {
    "name": "label",
    "desc": "description",
    "vis": "visibility",
    "sel": "selected",
    "lock": "locked",
    "associatednodeid": "associatedNodeID",
}


@dataclass(frozen=True, eq=False)
class PointFile:
    """Landmarks of one file and how to write the same file with other positions.

    Args:
        path: The file.
        kind: `table`, `fcsv`, `markups` or `transformix`.
        numbers: (P, D) as they stand in the file, in the world that it means.
        said: What the file says its world is: `ras`, `lps`, `pixel`; empty: nothing.
        rewritten: Text of the same file with other numbers (P, D), all else kept.
        columns: What else is known of each point, by name, as text.
        notes: What is odd, one sentence each.
    """

    path: Path
    kind: str
    numbers: np.ndarray
    said: str
    rewritten: Callable[[np.ndarray], str]
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def numbers(rows: Sequence[Sequence[str]], path: Path) -> np.ndarray:
    """Cells as numbers, (P, D) float64.

    Raises:
        ValueError: naming the first point that is not made of numbers, or is NaN or infinite.
    """
    if not rows:
        raise ValueError(f"{path} holds no points")
    for count, row in enumerate(rows, 1):
        if not numeric(row):
            raise ValueError(f"{path}: point {count} is {', '.join(row)!r}, not numbers")
    found = np.array(rows, np.float64)
    if not np.isfinite(found).all():
        bad = np.flatnonzero(~np.isfinite(found).all(1)) + 1
        raise ValueError(f"{path}: points {bad[:8].tolist()} are not numbers; remove them")
    return found


def numeric(row: Sequence[str]) -> bool:
    """Whether every cell is a number."""
    try:
        [float(cell) for cell in row]
    except ValueError:
        return False
    return True


def known_as(columns: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The columns under the names that 3D Slicer's .mrk.json has for them."""
    return {SAME.get(name.lower(), name): values for name, values in columns.items()}

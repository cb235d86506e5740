"""Table: pairs to train on, one a row, with all that is known of them."""

import csv
from pathlib import Path

from coincide.training.case import Beside, Listed, case, there

COLUMNS = (
    "fixed",
    "moving",
    "fixed_labels",
    "moving_labels",
    "fixed_points",
    "moving_points",
    "transform",
)


def read_table(path: Path) -> Listed:
    """The pairs of a `.csv`; its files are relative to it, an empty cell says nothing.

    Args:
        path: With the columns fixed and moving, and perhaps fixed_labels, moving_labels,
            fixed_points, moving_points and transform; others are not looked at.

    Raises:
        FileNotFoundError: if a file of a row is not there.
        ValueError: if a column lacks, or a row has points of one image alone.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in COLUMNS[:2]:
        if not rows or name not in rows[0]:
            raise ValueError(f"{path} has no column {name!r}; known columns: {', '.join(COLUMNS)}")
    found = []
    for number, row in enumerate(rows, start=1):
        points = [there(path, row.get(f"{side}_points")) for side in ("fixed", "moving")]
        if (points[0] is None) != (points[1] is None):
            raise ValueError(
                f"pair {number} of {path} has points of one image alone; fill both fixed_points "
                "and moving_points, row by row the same places"
            )
        both = None if points[0] is None or points[1] is None else (points[0], points[1])
        found.append(
            (
                case(path, row["fixed"], row.get("fixed_labels")),
                case(path, row["moving"], row.get("moving_labels")),
                Beside(both, there(path, row.get("transform"))),
            )
        )
    return found

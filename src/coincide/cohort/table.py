"""Table: every scalar score of every pair, one row each."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincide.files.atomic import atomic

FIRST = ("name", "status", "seconds")


@dataclass
class Table:
    """What is known of every pair so far, in the order of the list.

    Args:
        rows: For every name its status (`waiting`, `done` or `failed`), seconds, scores, error.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def done(self, name: str, seconds: float, scores: Mapping[str, Any]) -> None:
        """A pair has its result."""
        self.rows[name] = {"status": "done", "seconds": round(seconds, 2), **scalars(scores)}

    def failed(self, name: str, seconds: float, error: str) -> None:
        """A pair has none; of a long error the last line says what it was."""
        line = error.strip().splitlines()[-1]
        self.rows[name] = {"status": "failed", "seconds": round(seconds, 2), "error": line}

    def named(self, status: str) -> list[str]:
        """Names of the pairs with that status."""
        return [name for name, row in self.rows.items() if row["status"] == status]

    def write(self, path: Path) -> None:
        """As CSV, whole or not at all.

        Raises:
            OSError: if it cannot be, as where a spreadsheet holds the file.
        """
        scores = dict.fromkeys(key for row in self.rows.values() for key in row)
        columns = [*FIRST, *(key for key in scores if key not in (*FIRST, "error")), "error"]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({"name": name, **row} for name, row in self.rows.items())
        with atomic(path) as temporary:
            temporary.write_text(text.getvalue(), "utf-8", newline="")


def scalars(scores: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every number of nested scores, named by where it stands; what is unknown is left out.

    Example:
        >>> overlap = {"mean_dice": 0.8, "labels": {"1": {"dice": 0.8}}}
        >>> scalars({"overlap": overlap, "inverse": None})
        {'overlap.mean_dice': 0.8, 'overlap.labels.1.dice': 0.8}
    """
    found: dict[str, Any] = {}
    for key, value in scores.items():
        if isinstance(value, Mapping):
            found |= scalars(value, f"{prefix}{key}.")
        elif isinstance(value, int | float | str) and not (
            isinstance(value, float) and math.isnan(value)
        ):
            found[f"{prefix}{key}"] = value
    return found

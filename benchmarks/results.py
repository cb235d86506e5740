"""Results: the runs that are kept, as one table, and what is typical of each peer."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from cases import group

SCORES = ("dice", "hd95_mm", "tre_mean_mm", "tre_median_mm", "tre_p95_mm", "tre_max_mm")
SCORES += ("folding_pct",)
STAGES = ("read", "linear", "deformable", "inverse", "both", "register")
TIMES = ("seconds", "import", "wall", "cpu", "peak")


@dataclass(frozen=True)
class Typical:
    """A peer on a group of cases: mean over the cases of the median over repeats.

    Args:
        peer: Its name.
        group: Kind of pair.
        values: Times, stages and scores by name; what nobody knows is left out.
        cases: On how many cases it succeeded.
        failed: Why it failed on others.
    """

    peer: str
    group: str
    values: dict[str, float] = field(default_factory=dict)
    cases: int = 0
    failed: tuple[str, ...] = ()


def read(out: Path) -> list[dict[str, Any]]:
    """Every run in a folder of results, one flat row each, in order of its name."""
    rows = []
    for path in sorted((out / "runs").rglob("*.json")):
        row = json.loads(path.read_text("utf-8"))
        rows.append({**row, **row.pop("stages", {}), **row.pop("scores", {})})
    return rows


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows as a file; an empty cell where a run has no such value."""
    names = ["case", "peer", "repeat", "failed", "threads", "busy", *TIMES, *STAGES, *SCORES]
    names += ["version", "settings", "machine"]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)


def typical(rows: Iterable[dict[str, Any]]) -> list[Typical]:
    """One entry for each peer in each group, in order of their names."""
    held: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        key = group(row["case"]), row["peer"]
        held.setdefault(key, {}).setdefault(row["case"], []).append(row)
    found = []
    for (kind, peer), cases in sorted(held.items()):
        good = [[r for r in runs if not r["failed"]] for runs in cases.values()]
        good = [runs for runs in good if runs]
        values = {}
        for name in (*TIMES, *STAGES, *SCORES):
            known = [[r[name] for r in runs if r.get(name) is not None] for runs in good]
            known = [numbers for numbers in known if numbers]
            if known:
                values[name] = mean(median(numbers) for numbers in known)
        failed = dict.fromkeys(r["failed"] for runs in cases.values() for r in runs if r["failed"])
        found.append(Typical(peer, kind, values, len(good), tuple(failed)))
    return found

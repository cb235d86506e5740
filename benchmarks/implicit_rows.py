"""Rows: each line of a table in a process of its own, so that peak memory is that of one method."""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import PEAK_UNIT, measure

LIMIT = 3600.0  # seconds of a row


@dataclass(frozen=True)
class Folders:
    """Where things lie.

    Args:
        data: Real images.
        work: What is made once, and logs.
    """

    data: Path
    work: Path


Row = Callable[[Folders], dict[str, Any]]


class Spent:
    """Seconds of processor time within a `with`, and the peak of memory at its end, GB."""

    def __enter__(self) -> "Spent":
        self.begin = time.process_time()
        return self

    def __exit__(self, *_: Any) -> None:
        self.seconds = time.process_time() - self.begin
        self.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT / 1e9

    def told(self) -> dict[str, float]:
        return {"seconds": round(self.seconds, 2), "gb": round(self.peak, 2)}


def alone(part: str, row: str, folders: Folders) -> dict[str, Any]:
    """What a row gives in a fresh process with one thread; what is finished is not repeated.

    Raises:
        RuntimeError: with what it printed last, if it failed.
    """
    folders.work.mkdir(parents=True, exist_ok=True)
    kept = folders.work / f"{part} {row}.json".replace("/", "-").replace(" ", "_")
    if kept.exists():
        return json.loads(kept.read_text("utf-8"))
    log = kept.with_suffix(".log")
    program = str(Path(__file__).with_name("implicit.py"))
    asked = ["--data", str(folders.data), "--work", str(folders.work), "--alone"]
    command = [sys.executable, program, part, "--rows", row, *asked]
    usage = measure(command, Path.cwd(), log, threads=1, limit=LIMIT)
    if usage.failure:
        raise RuntimeError(f"{part} {row}: {usage.failure}; see {log}")
    last = log.read_text("utf-8").splitlines()[-1]
    kept.write_text(last, "utf-8")
    return json.loads(last)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Rows as Markdown, a column for every value that one of them has."""
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for row, values in rows.items():
        lines.append(f"| {row} | {' | '.join(cell(values.get(name, '')) for name in columns)} |")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Three digits that mean something; several numbers beside each other."""
    if isinstance(value, list):
        return " ".join(cell(one) for one in value)
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)


def rounded(values: Iterable[float], digits: int = 2) -> list[float]:
    return [round(float(value), digits) for value in values]

"""coincide report."""

import json
from pathlib import Path

from tyro.conf import Positional

from coincide.cli.evaluate import finished
from coincide.report.page import write_report


def report(folders: Positional[tuple[Path, ...]], out: Path = Path("report.html")) -> None:
    """Show one or more finished registrations in one self-contained HTML file.

        coincide report run1 run2 --out both.html

    Args:
        folders: What `register --out` wrote.
        out: File to write.
    """
    results = [finished(folder) for folder in folders]
    scores = [_scores(folder / "scores.json") for folder in folders]
    write_report(results, out, scores=scores)
    print(f"wrote {out}")


def _scores(path: Path) -> dict | None:
    return json.loads(path.read_text()) if path.exists() else None

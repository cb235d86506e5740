"""coincide report."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from coincide.cli.evaluate import finished
from coincide.files.label_table import read_label_map, read_label_table
from coincide.files.points import read_points
from coincide.files.read import read_labels
from coincide.registration import Registration
from coincide.report.beside import Beside
from coincide.report.page import write_report


def report(
    folders: Positional[tuple[Path, ...]],
    out: Path = Path("report.html"),
    label_names: Path | None = None,
    moving_label_map: Path | None = None,
) -> None:
    """Show one or more finished registrations in one self-contained HTML file.

        coincide report run1 run2 --out both.html
        coincide report run --label-names organs.csv

    Label maps and landmarks that the runs were scored with are drawn, if their files are still
    there.

    Args:
        folders: What `register --out` wrote.
        out: File to write.
        label_names: Names of the labels of the fixed map: a table of number and name, a label
            description of ITK-SNAP or a lookup table of FreeSurfer. None: that of each run.
        moving_label_map: Numbers of the moving map and of the fixed map that mean the same organ,
            as a table. None: that of each run.
    """
    results = [finished(folder) for folder in folders]
    scores = [_scores(folder / "scores.json") for folder in folders]
    beside = [_beside(result, label_names, moving_label_map) for result in results]
    write_report(results, out, scores=scores, beside=beside)
    print(f"wrote {out}")


def _scores(path: Path) -> dict | None:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _beside(result: Registration, names: Path | None, numbers: Path | None) -> Beside:
    """What was scored beside the images, from the files that the settings of the run name."""
    settings = result.settings

    def kept(key: str, read: Callable[[Path], Any], given: Path | None = None) -> Any:
        if given is not None:
            return read(given)
        if not isinstance(settings.get(key), str):
            return None
        if not Path(settings[key]).exists():
            print(f"note: {settings[key]} is no longer there and not drawn", file=sys.stderr)
            return None
        return read(Path(settings[key]))

    fixed, moving = kept("fixed_labels", read_labels), kept("moving_labels", read_labels)
    first = kept("fixed_points", lambda path: read_points(path, image=result.fixed))
    second = kept("moving_points", lambda path: read_points(path, image=result.moving))
    if fixed is None or moving is None:
        fixed = moving = None
    if first is None or second is None:
        first = second = None
    return Beside(
        fixed_labels=fixed,
        moving_labels=moving,
        fixed_points=first,
        moving_points=second,
        label_names=kept("label_names", read_label_table, names),
        moving_label_map=kept("moving_label_map", read_label_map, numbers),
        fixed_file=settings.get("fixed"),
        moving_file=settings.get("moving"),
    )

"""coincide report."""

import json
from dataclasses import replace
from pathlib import Path

from tyro.conf import Positional

from coincide.cli.evaluate import finished
from coincide.files.label_table import read_label_map, read_label_table
from coincide.registration import Registration
from coincide.report.page import write_report
from coincide.space.label_numbers import renumbered


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
        folders: What `register --out` or `coincide.save` wrote.
        out: File to write.
        label_names: Names of the labels of the fixed map: a table of number and name, a label
            description of ITK-SNAP or a lookup table of FreeSurfer. None: that of each run.
        moving_label_map: Numbers of the moving map and of the fixed map that mean the same organ,
            as a table. None: that of each run.
    """
    results = [_named(finished(folder), label_names, moving_label_map) for folder in folders]
    scores = [_scores(folder / "scores.json") for folder in folders]
    write_report(results, out, scores=scores)
    print(f"wrote {out}")


def _scores(path: Path) -> dict | None:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _named(result: Registration, names: Path | None, numbers: Path | None) -> Registration:
    """The same with other names and numbers of its labels."""
    if names is not None:
        result = replace(result, label_names=read_label_table(names))
    if numbers is not None and result.labels is not None:
        if "moving_label_map" in result.settings or "moving_label_names" in result.settings:
            raise ValueError("the labels of this run are in one numbering already")
        fixed, moving = result.labels
        result = replace(result, labels=(fixed, renumbered(moving, read_label_map(numbers))))
    return result

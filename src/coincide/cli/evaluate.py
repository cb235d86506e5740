"""coincide evaluate."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from coincide.files.label_table import read_label_map
from coincide.output import write_text
from coincide.record import load
from coincide.registration import Registration
from coincide.scan import as_labels
from coincide.space.label_numbers import renumbered

File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]


def evaluate(
    folder: Positional[Path],
    fixed_labels: File = None,
    moving_labels: File = None,
    fixed_points: File = None,
    moving_points: File = None,
    moving_label_map: File = None,
    fixed_mask: File = None,
) -> None:
    """Score a finished registration against label maps or landmarks.

    Prints the scores as JSON and writes them to scores.json in the folder. Labels, landmarks and
    masks of the run are used where no others are given; scores that are not computed again stay.

        coincide evaluate run --fixed-labels f_seg.nii.gz --moving-labels m_seg.nii.gz

    Args:
        folder: What `register --out` or `coincide.save` wrote.
        fixed_labels: Label map of the fixed image.
        moving_labels: Label map of the moving image.
        fixed_points: Landmarks of the fixed image.
        moving_points: Landmarks of the moving image, in the same order.
        moving_label_map: Numbers of `--moving-labels` and of the fixed map that mean the same
            organ, as a table.
        fixed_mask: Where folding and the inverse are measured.
    """
    result = finished(folder)
    for pair in ((fixed_labels, moving_labels), (fixed_points, moving_points)):
        if (pair[0] is None) != (pair[1] is None):
            raise ValueError("labels and points are needed of both images, or of neither")
    labels = None if moving_labels is None else as_labels(moving_labels)
    if moving_label_map is not None:
        if labels is None:
            raise ValueError("--moving-label-map says how --moving-labels are numbered; give them")
        labels = renumbered(labels, read_label_map(moving_label_map))
    found = result.evaluate(
        fixed_labels=fixed_labels,
        moving_labels=labels,
        fixed_points=fixed_points,
        moving_points=moving_points,
        fixed_mask=fixed_mask,
    ).to_dict()
    text = json.dumps(merged(folder / "scores.json", found), indent=2)
    write_text(text, folder / "scores.json")
    print(text)


def merged(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Scores with those of the file that were not computed again."""
    earlier = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {**earlier, **{name: one for name, one in found.items() if one or name not in earlier}}


def finished(folder: Path) -> Registration:
    """A registration read back from its folder; what has changed since is told.

    Raises:
        ValueError: if the folder is not one that register wrote.
        FileNotFoundError: if its images have moved.
    """
    result = load(folder)
    for note in result.warnings:
        print(f"note: {note}", file=sys.stderr)
    return result

"""coincide evaluate."""

import json
import tomllib
from pathlib import Path

from tyro.conf import Positional

from coincide.files.atomic import atomic
from coincide.files.itk import read_transform
from coincide.files.points import read_points
from coincide.files.read import load, read_labels
from coincide.registration import Registration
from coincide.scores.evaluate import evaluate as scored


def evaluate(
    folder: Positional[Path],
    fixed_labels: Path | None = None,
    moving_labels: Path | None = None,
    fixed_points: Path | None = None,
    moving_points: Path | None = None,
) -> None:
    """Score a finished registration against label maps or landmarks.

    Prints the scores as JSON and writes them to scores.json in the folder.

        coincide evaluate run --fixed-labels f_seg.nii.gz --moving-labels m_seg.nii.gz

    Args:
        folder: What `register --out` wrote.
        fixed_labels: Label map of the fixed image.
        moving_labels: Label map of the moving image.
        fixed_points: Landmarks of the fixed image.
        moving_points: Landmarks of the moving image, in the same order.
    """
    result = finished(folder)
    for pair in ((fixed_labels, moving_labels), (fixed_points, moving_points)):
        if (pair[0] is None) != (pair[1] is None):
            raise ValueError("labels and points are needed of both images, or of neither")
    scores = scored(
        result,
        fixed_labels=None if fixed_labels is None else read_labels(fixed_labels),
        moving_labels=None if moving_labels is None else read_labels(moving_labels),
        fixed_points=None if fixed_points is None else read_points(fixed_points),
        moving_points=None if moving_points is None else read_points(moving_points),
    ).to_dict()
    text = json.dumps(scores, indent=2)
    with atomic(folder / "scores.json") as temporary:
        temporary.write_text(text)
    print(text)


def finished(folder: Path) -> Registration:
    """A registration read back from its folder.

    Raises:
        ValueError: if the folder is not one that register wrote, or its images have moved.
    """
    stored = folder / "settings.toml"
    if not stored.exists():
        raise ValueError(f"{folder} has no settings.toml; give a folder that register wrote")
    settings = tomllib.loads(stored.read_text())
    frame = settings.get("frame", -1)
    frame = None if frame < 0 else frame
    for name in ("fixed", "moving"):
        if name not in settings:
            raise ValueError(
                f"{stored} does not say which file the {name} image was; register from files, or "
                "use coincide.evaluate in Python"
            )
        if not Path(settings[name]).exists():
            raise ValueError(f"the {name} image {settings[name]} of {folder} is no longer there")
    return Registration(
        fixed=load(settings["fixed"], frame=frame).image,
        moving=load(settings["moving"], frame=frame).image,
        transform=read_transform(folder / "transform.h5").requires_grad_(False),
        inverse=read_transform(folder / "inverse.h5").requires_grad_(False),
        settings=settings,
        status=f"read from {folder}",
    )

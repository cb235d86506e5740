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

    Prints the scores as JSON and writes them to scores.json in the folder, beside those that are
    there already.

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
    images = result.fixed, result.moving
    labels = [path and read_labels(path) for path in (fixed_labels, moving_labels)]
    points = [
        path and read_points(path, image=image)
        for path, image in zip((fixed_points, moving_points), images, strict=True)
    ]
    scores = scored(
        result,
        fixed_labels=labels[0],
        moving_labels=labels[1],
        fixed_points=points[0],
        moving_points=points[1],
    ).to_dict()
    # what is not scored again stays as it was
    before = folder / "scores.json"
    kept = json.loads(before.read_text("utf-8")) if before.exists() else {}
    scores = kept | {name: score for name, score in scores.items() if score is not None}
    text = json.dumps(scores, indent=2)
    with atomic(folder / "scores.json") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def finished(folder: Path) -> Registration:
    """A registration read back from its folder.

    Raises:
        ValueError: if the folder is not one that register wrote, or its images have moved.
    """
    stored = folder / "settings.toml"
    if not stored.exists():
        raise ValueError(f"{folder} has no settings.toml; give a folder that register wrote")
    settings = tomllib.loads(stored.read_text("utf-8"))
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

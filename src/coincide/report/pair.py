"""Pair: what the page says and draws of one registration, ready for its template."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from coincide.registration import Registration
from coincide.report.curves import curves
from coincide.report.scene import Scene
from coincide.report.summary import figures, file_name, label_rows, lead, sentence, title

THIN = 0.45  # of the longest side, below which a volume is a slab and drawn by its large plane
PLANES = {2: ["image"], 3: ["axial", "coronal", "sagittal"]}
ACROSS = ((0, 1), (0, 2), (1, 2))  # axes of each plane


def pair(
    position: int,
    result: Registration,
    score: Mapping[str, Any],
    longest: int | None = None,
) -> dict[str, Any]:
    """Everything that the template shows of one pair.

    Args:
        position: Which one of the page, from 1.
        result: The registration.
        score: What `evaluate(...).to_dict()` gave, or nothing.
        longest: Voxels an axis at most; None: as many as a browser can hold.
    """
    scene = Scene(result, longest) if result.fixed.dim in PLANES else None
    data = None if scene is None else scene.data()
    likeness = None if scene is None else scene.likeness
    organs = None if data is None else data["labels"]
    before = {} if organs is None else organs["before"]
    mean = float(np.mean(list(before.values()))) if before else None
    found = figures(result, score, likeness, mean)
    return {
        "id": f"pair-{position}",
        "title": title(result, position),
        "sentence": sentence(result),
        "warnings": [*result.warnings, *notes(data)],
        "figures": found,
        "gain": None if likeness is None else gain(likeness),
        "planes": PLANES.get(result.fixed.dim, []),
        "main": None if scene is None else main_plane(scene.lattice.extent),
        "coarser": None if scene is None else shown_at(scene),
        "colour": bool(scene) and any(len(p) == 3 for p in scene.pictures.values()),
        "overlays": [] if data is None else overlays(data),
        "hounsfield": data is not None
        and any(volume["hounsfield"] for volume in data["volumes"].values()),
        # no text in the data can end the element that holds it
        "data": Markup(json.dumps(data, allow_nan=False).replace("<", "\\u003c")),
        "drawable": scene is not None,
        "curves": [(curve, Markup(curve.svg)) for curve in curves(result.history)],
        "candidates": result.candidates,
        "details": result.details,
        "lead": lead(result.margin),
        "score": score,
        "outlined": organs is not None,
        "labels": label_rows(score, result.label_names, before),
        "landmarks": sorted(
            [] if data is None else data["landmarks"], key=lambda mark: -(mark["after"] or np.inf)
        ),
        "grids": [
            (name, file_name(result.settings.get(name)), image)
            for name, image in (("fixed", result.fixed), ("moving", result.moving))
        ],
        "settings": {str(k): written(v) for k, v in result.settings.items()},
        "seconds": result.seconds,
        "total": sum(result.seconds.values()),
    }


def notes(data: Mapping[str, Any] | None) -> list[str]:
    """What the label maps show that a score alone would hide."""
    labels = (data or {}).get("labels")
    if not labels or not labels["elsewhere"]:
        return []
    some = ", ".join(f"{a} on {b}" for a, b in list(labels["elsewhere"].items())[:4])
    return [
        "The two label maps seem to number organs differently: after the registration these labels "
        f"of the fixed map lie on another number of the moving map: {some}. If so, their Dice says "
        "nothing; give a table of moving and fixed numbers (--moving-label-map)."
    ]


def gain(likeness: Mapping[str, Any]) -> float | None:
    """By how much the normalised mutual information rose."""
    before, after = likeness["before"].nmi, likeness["after"].nmi
    return None if before is None or after is None else after - before


def main_plane(extent: np.ndarray) -> int | None:
    """The plane to draw large, of a slab; None where the three are about equal."""
    if len(extent) != 3 or extent.min() > THIN * extent.max():
        return None
    return max(range(3), key=lambda plane: extent[list(ACROSS[plane])].prod())


def shown_at(scene: Scene) -> str:
    """How much coarser than the file the pictures are; empty where they are not."""
    own = np.sort(scene.result.fixed.grid.spacing)
    ratio = float((np.sort(scene.lattice.spacing) / own).max())
    return f"{ratio:.2g}" if ratio > 1.01 else ""


def overlays(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, words and explanation of what can be laid over the images of this pair."""
    found = [("edges", "Edges", "Edges of the fixed image, drawn over whatever is shown")]
    if data["labels"]:
        found.append(("labels", "Label outlines", "Outlines of the fixed and of the other labels"))
    if data["mask"]:
        found.append(("mask", "Mask", "Outlines of where the images count"))
    if data["landmarks"]:
        found.append(("landmarks", "Landmarks", "Landmarks, and their error as arrows"))
    found.append(("grid", "Deformation grid", "Grid lines of the moving image, where they lie now"))
    found.append(
        ("jacobian", "Volume change", "Local volume change: the determinant of the Jacobian")
    )
    if data["confidence"]:
        found.append(
            ("confidence", "Search confidence", "Where the search had a clear choice, where not")
        )
    return found


def written(value: Any) -> str:
    """A setting as people read it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {written(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(written(v) for v in value)
    return str(value)

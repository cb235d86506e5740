"""Summary: the few words and numbers a reader needs first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from coincide.registration import Registration


@dataclass(frozen=True)
class Figure:
    """One number of the headline.

    Args:
        name: What it is.
        value: The number; None where unknown.
        unit: Its unit, or empty.
        note: What it is counted over.
        decimals: How many are worth reading.
    """

    name: str
    value: float | None
    unit: str = ""
    note: str = ""
    decimals: int = 2


def title(result: Registration, position: int) -> str:
    """Names of the two files where the settings know them, else the number of the pair."""
    names = [result.settings.get(key) for key in ("fixed", "moving")]
    if all(isinstance(name, str | PurePath) for name in names):
        fixed, moving = (PurePath(str(name)).name for name in names)
        return f"{moving} → {fixed}"
    return f"Pair {position}"


def sentence(result: Registration) -> str:
    """How the registration ended, how long it took, and whether anything was odd."""
    status = result.status.strip() or "The registration ended"
    status = status[0].upper() + status[1:]
    parts = [status if status[-1] in ".!?" else f"{status}."]
    if result.seconds:
        parts.append(f"It took {sum(result.seconds.values()):.1f} s.")
    if not result.warnings:
        parts.append("Nothing odd was found in the input.")
    elif len(result.warnings) == 1:
        parts.append("One thing about the input needs a look.")
    else:
        parts.append(f"{len(result.warnings)} things about the input need a look.")
    return " ".join(parts)


def figures(result: Registration, score: Mapping[str, Any]) -> list[Figure]:
    """The headline numbers of what was scored."""
    overlap, surface, landmarks, regularity, inverse = (
        score.get(name) or {}
        for name in ("overlap", "surface", "landmarks", "regularity", "inverse")
    )
    labels = len(overlap.get("labels", {}))
    measured = len(surface.get("labels", {}))
    found = [
        Figure("Dice", overlap.get("mean_dice"), "", f"mean of {labels} labels", 3),
        Figure("HD95", surface.get("mean_hd95_mm"), "mm", f"mean of {measured} labels"),
        Figure("TRE", landmarks.get("tre_mean_mm"), "mm", f"{landmarks.get('count')} landmarks"),
        Figure("Folding", regularity.get("folding_percent"), "%", "of the voxels", 3),
        Figure(
            "Folded volume",
            regularity.get("non_diffeomorphic_volume_percent"),
            "%",
            "between the voxels",
            3,
        ),
        Figure("Displacement", regularity.get("mean_displacement_mm"), "mm", "mean"),
        Figure("Inverse residual", inverse.get("inverse_residual_median_mm"), "mm", "median"),
    ]
    found = [figure for figure in found if figure.value is not None]
    if result.seconds:
        found.append(Figure("Time", sum(result.seconds.values()), "s", "all stages", 1))
    return found


def label_rows(score: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each label of the fixed map, worst Dice first."""
    overlap = (score.get("overlap") or {}).get("labels", {})
    surface = (score.get("surface") or {}).get("labels", {})
    rows = [
        {
            "label": label,
            "dice": overlap.get(label, {}).get("dice"),
            "jaccard": overlap.get(label, {}).get("jaccard"),
            "hd95_mm": surface.get(label, {}).get("hd95_mm"),
            "assd_mm": surface.get(label, {}).get("assd_mm"),
        }
        for label in dict.fromkeys([*overlap, *surface])
    ]
    return sorted(rows, key=lambda row: -1 if row["dice"] is None else row["dice"])

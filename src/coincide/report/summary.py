"""Summary: the few words and numbers a reader needs first."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from coincide.registration import Agreement, Registration
from coincide.report.likeness import Likeness

CORRELATED = 0.5  # above which two images are taken to be of one contrast


@dataclass(frozen=True)
class Figure:
    """One number of the headline.

    Args:
        name: What it is.
        value: The number; None where unknown.
        unit: Its unit, or empty.
        note: What it is counted over.
        decimals: How many are worth reading.
        before: The same before the registration, with the images where their files place them.
    """

    name: str
    value: float | None
    unit: str = ""
    note: str = ""
    decimals: int = 2
    before: float | None = None


def title(result: Registration, position: int) -> str:
    """Names of the two files where they are known, else the number of the pair."""
    names = [file_name(result.settings.get(which)) for which in ("fixed", "moving")]
    if all(names):
        fixed, moving = names
        return f"{moving} → {fixed}"
    return f"Pair {position}"


def file_name(path: Any) -> str:
    """The last part of a path; empty where none is known."""
    return PurePath(path).name if isinstance(path, str | PurePath) else ""


def sentence(result: Registration) -> str:
    """How the registration ended, how long it took, and whether anything was odd."""
    status = result.status.strip() or "The registration ended"
    status = status[0].upper() + status[1:]
    parts = [status if status[-1] in ".!?" else f"{status}."]
    if result.seconds:
        parts.append(f"It took {sum(result.seconds.values()):.1f} s.")
    if not result.warnings:
        parts.append("Nothing odd was found.")
    elif len(result.warnings) == 1:
        parts.append("One thing needs a look.")
    else:
        parts.append(f"{len(result.warnings)} things need a look.")
    return " ".join(parts)


def figures(
    result: Registration,
    score: Mapping[str, Any],
    likeness: Mapping[str, Likeness] | None = None,
    dice: float | None = None,
) -> list[Figure]:
    """The headline numbers of what was scored.

    Args:
        result: The registration.
        score: What `evaluate(...).to_dict()` gave.
        likeness: How alike the images were before and after.
        dice: Mean Dice before.
    """
    overlap, surface, points, regularity, inverse, doubt = (
        score.get(name) or {}
        for name in ("overlap", "surface", "landmarks", "regularity", "inverse", "uncertainty")
    )
    labels = len(overlap.get("labels", {}))
    measured = len(surface.get("labels", {}))
    found = [
        Figure("Dice", overlap.get("mean_dice"), "", f"mean of {labels} labels", 3, dice),
        Figure("HD95", surface.get("mean_hd95_mm"), "mm", f"mean of {measured} labels"),
        Figure(
            "TRE",
            points.get("tre_mean_mm"),
            "mm",
            f"mean of {points.get('count')} landmarks",
            2,
            points.get("initial_mean_mm"),
        ),
        *similarities(likeness),
        *agreements(result.agreement),
        Figure("Folding", regularity.get("folding_percent"), "%", "of the voxels", 3),
        Figure(
            "Folded volume",
            regularity.get("non_diffeomorphic_volume_percent"),
            "%",
            "turned inside out",
            3,
        ),
        Figure("Displacement", regularity.get("mean_displacement_mm"), "mm", "mean"),
        Figure("Inverse residual", inverse.get("inverse_residual_median_mm"), "mm", "median"),
        Figure("Uncertainty", doubt.get("mean_mm"), "mm", "mean, between two networks"),
    ]
    found = [figure for figure in found if figure.value is not None]
    if result.seconds:
        found.append(Figure("Time", sum(result.seconds.values()), "s", "all stages", 1))
    return found


def similarities(likeness: Mapping[str, Likeness] | None) -> list[Figure]:
    """How alike the images are, before and after; nothing where that was not measured."""
    if likeness is None:
        return []
    before, after = likeness["before"], likeness["after"]
    found = [Figure("NMI", after.nmi, "", "1: unrelated, 2: equal", 3, before.nmi)]
    # of two contrasts a correlation says nothing, and a fall of it would only alarm
    if after.ncc is not None and after.ncc > CORRELATED:
        found.append(Figure("NCC", after.ncc, "", "correlation", 3, before.ncc))
    return found


def agreements(found: Agreement | None) -> list[Figure]:
    """How far the images agree, beside what chance gives; nothing where that was not measured."""
    if found is None:
        return []
    chance = max(found.shifted, found.mirrored)
    note = f"0 to 1, whatever the contrasts; {chance:.3f} by chance"
    return [Figure("Agreement", found.after, "", note, 3, found.before)]


def label_rows(
    score: Mapping[str, Any],
    names: Mapping[int, str] | None = None,
    before: Mapping[int, float] | None = None,
) -> list[dict[str, Any]]:
    """One row for each label of the fixed map, worst Dice first.

    Args:
        score: What `evaluate(...).to_dict()` gave.
        names: Number of a label to its name.
        before: Dice of each label before the registration.
    """
    overlap = (score.get("overlap") or {}).get("labels", {})
    surface = (score.get("surface") or {}).get("labels", {})
    names, before = names or {}, before or {}
    rows = [
        {
            "label": label,
            "name": names.get(int(label), ""),
            "before": before.get(int(label)),
            "dice": overlap.get(label, {}).get("dice"),
            "jaccard": overlap.get(label, {}).get("jaccard"),
            "hd95_mm": surface.get(label, {}).get("hd95_mm"),
            "assd_mm": surface.get(label, {}).get("assd_mm"),
        }
        for label in dict.fromkeys([*overlap, *surface])
    ]
    return sorted(rows, key=lambda row: -1 if row["dice"] is None else row["dice"])


def lead(margin: float | None) -> str:
    """What the margin of the alignment means, in a sentence; empty where nothing was tried."""
    if margin is None:
        return ""
    if math.isinf(margin):
        return "No start that ended in a different place came near the one that was chosen."
    amount = f"{abs(margin):.3g} in units of the similarity, compared at one resolution"
    if margin < 0:
        return (
            f"A start that ended in a different place scored better, by {amount}; the position in "
            "the files was believed all the same. Look whether left and right are as they should."
        )
    return (
        f"The best start that ended in a different place scored worse by {amount}. "
        "The smaller this is, the more carefully the orientation should be looked at."
    )

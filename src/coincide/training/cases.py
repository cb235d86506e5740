"""Cases: the images to train on, which of them make pairs, and which are held out."""

import csv
import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from coincide.training.images import SUFFIXES

MOST, SHARE = 40, 5  # images held out at most, and one of how many
COLUMNS = ("fixed", "moving", "fixed_labels", "moving_labels")


@dataclass(frozen=True)
class Case:
    """One image.

    Args:
        image: Its file.
        labels: File of its label map; None: none.
    """

    image: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Cases:
    """What is trained on and what is not.

    Args:
        cases: All images.
        training: Pairs that are trained on, (fixed, moving) by their place in `cases`.
        validation: Pairs that are only looked at.
        held: Names of the images that no training pair has.
    """

    cases: tuple[Case, ...]
    training: tuple[tuple[int, int], ...]
    validation: tuple[tuple[int, int], ...]
    held: tuple[str, ...]


def find_cases(
    pairs: str | Path, labels: str = "", *, validation: int = 0, shown: int = 24
) -> Cases:
    """Images and pairs from a folder, a pattern, a table or a data set of Learn2Reg.

    Of a folder, or a pattern such as `scans/*_T1.nii.gz`, every image makes a pair with every
    other. Those held out are chosen by a fixed seed, whatever the seed of the training.

    Args:
        pairs: Folder, pattern, `.csv` with the columns fixed, moving and perhaps fixed_labels and
            moving_labels, or the `.json` of Learn2Reg; paths in both are relative to the file.
        labels: Folder with label maps of the same names, or `OLD=NEW` for what in the name of an
            image makes it that of its labels, such as `_T1=_label`; empty: none, or those that the
            file lists.
        validation: Images held out of a folder, or pairs of a table; 0: a fifth, at most 40.
        shown: Pairs of images held out that are looked at, at most.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if there are not two images, or the table lacks a column.
    """
    path = Path(pairs)
    if path.suffix.lower() in (".csv", ".json"):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        listed = _csv(path) if path.suffix.lower() == ".csv" else _learn2reg(path)
        if listed is not None:
            return _paired(listed, validation)
        cases = _learn2reg_cases(path)
    else:
        cases = _folder(path, labels)
    if len(cases) < 2:
        raise ValueError(
            f"{pairs} holds {len(cases)} images; two or more are needed to make a pair"
        )
    count = validation or min(MOST, len(cases) // SHARE)
    order = np.random.default_rng(0).permutation(len(cases))
    held, kept = order[:count].tolist(), order[count:].tolist()
    if len(kept) < 2:
        raise ValueError(f"of {len(cases)} images {count} cannot be held out; two must be left")
    training = tuple(permutations(sorted(kept), 2))
    # too few to hold any out: what is looked at is what is trained on
    both = list(permutations(held if len(held) > 1 else kept, 2))
    chosen = np.random.default_rng(1).permutation(len(both))[:shown]
    names = tuple(sorted(cases[i].image.name for i in held))
    return Cases(tuple(cases), training, tuple(both[i] for i in chosen), names)


def _folder(path: Path, labels: str) -> list[Case]:
    if path.is_dir():
        found = [p for p in sorted(path.rglob("*")) if p.name.lower().endswith(SUFFIXES)]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
        if not found:
            raise FileNotFoundError(f"there is no folder {path}, and no image of such a name")
    old, equals, new = labels.partition("=")
    if equals:
        found = [p for p in found if old in p.name]
        return [Case(p, _there(p.with_name(p.name.replace(old, new)))) for p in found]
    return [Case(p, _there(Path(labels) / p.name) if labels else None) for p in found]


def _there(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no labels {path}; give --labels FOLDER with maps of the same names as the "
            "images, or what to replace in these, such as --labels _T1=_label"
        )
    return path


Listed = list[tuple[Case, Case]]


def _csv(path: Path) -> Listed:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in COLUMNS[:2]:
        if not rows or name not in rows[0]:
            raise ValueError(f"{path} has no column {name!r}; known columns: {', '.join(COLUMNS)}")
    return [
        (
            _case(path, row["fixed"], row.get("fixed_labels")),
            _case(path, row["moving"], row.get("moving_labels")),
        )
        for row in rows
    ]


def _case(beside: Path, image: str, labels: str | None) -> Case:
    files = [beside.parent / name if name else None for name in (image, labels)]
    for file in files:
        if file is not None and not file.is_file():
            raise FileNotFoundError(f"{beside} lists {file}, which is not there")
    assert files[0] is not None
    return Case(files[0], files[1])


def _learn2reg(path: Path) -> Listed | None:
    """The pairs of a data set that lists some."""
    told = _json(path)
    pairs = told.get("training_paired_images")
    if not pairs:
        return None
    labels = _labels_of(told)
    return [
        (
            _case(path, pair["fixed"], labels.get(pair["fixed"])),
            _case(path, pair["moving"], labels.get(pair["moving"])),
        )
        for pair in pairs
    ]


def _learn2reg_cases(path: Path) -> list[Case]:
    told = _json(path)
    labels = _labels_of(told)
    rows = told.get("training", ())
    return [_case(path, row["image"], labels.get(row["image"])) for row in rows]


def _labels_of(told: Mapping[str, Any]) -> dict[str, str]:
    return {row["image"]: row["label"] for row in told.get("training", ()) if row.get("label")}


def _json(path: Path) -> Mapping[str, Any]:
    told = json.loads(path.read_text("utf-8"))
    if "training" not in told and "training_paired_images" not in told:
        raise ValueError(
            f"{path} is no data set of Learn2Reg: it has neither 'training' nor "
            "'training_paired_images'"
        )
    return told


def _paired(listed: Listed, validation: int) -> Cases:
    """Cases of listed pairs; of those held out, no image is in a pair that is trained on."""
    cases = list(dict.fromkeys(case for pair in listed for case in pair))
    pairs = [(cases.index(one), cases.index(other)) for one, other in listed]
    count = validation or min(MOST, len(pairs) // SHARE)
    chosen = np.random.default_rng(0).permutation(len(pairs))[:count]
    held = {image for i in chosen for image in pairs[i]}
    training = tuple(pair for pair in pairs if not held & set(pair))
    # an atlas is in every pair: then pairs are held out, not images
    if not training:
        training = tuple(pair for i, pair in enumerate(pairs) if i not in set(chosen.tolist()))
        held -= {image for pair in training for image in pair}
    if not training:
        raise ValueError(f"of {len(pairs)} pairs {count} cannot be held out; one must be left")
    looked = tuple(pairs[i] for i in chosen) or training
    names: Sequence[str] = sorted(cases[i].image.name for i in held)
    return Cases(tuple(cases), training, looked, tuple(names))

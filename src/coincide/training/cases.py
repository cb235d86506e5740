"""Cases: the images to train on, which of them make pairs, and which are held out."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from coincide.training.bids import bids_pairs, is_bids
from coincide.training.case import Beside, Case, Listed, case
from coincide.training.images import SUFFIXES
from coincide.training.table import read_table

MOST, SHARE = 40, 5  # images held out at most, and one of how many
Places = tuple[int, int]


@dataclass(frozen=True)
class Cases:
    """What is trained on and what is not.

    Args:
        cases: All images.
        training: Pairs that are trained on, (fixed, moving) by their place in `cases`.
        validation: Pairs that are only looked at.
        held: Names of the images that no training pair has.
        beside: What else is known of some pairs.
    """

    cases: tuple[Case, ...]
    training: tuple[Places, ...]
    validation: tuple[Places, ...]
    held: tuple[str, ...]
    beside: Mapping[Places, Beside] = field(default_factory=dict)


def find_cases(
    pairs: str | Path,
    labels: str = "",
    *,
    fixed: str = "",
    moving: str = "",
    validation: int = 0,
    shown: int = 24,
) -> Cases:
    """Images and pairs from a folder, a pattern, a table, BIDS or a data set of Learn2Reg.

    Of a folder, or a pattern such as `scans/*_T1.nii.gz`, every image makes a pair with every
    other. Of a folder with `dataset_description.json`, which is BIDS, see `bids_pairs`. Those held
    out are chosen by a fixed seed, whatever the seed of the training.

    Args:
        pairs: Folder, pattern, `.csv` of `read_table`, or the `.json` of Learn2Reg; paths in both
            are relative to the file.
        labels: Folder with label maps of the same names, or `OLD=NEW` for what in the name of an
            image makes it that of its labels, such as `_T1=_label`; empty: none, or those that the
            file lists. Of BIDS: entities of the label maps.
        fixed: Of BIDS alone: which images stay.
        moving: Of BIDS alone: which of the same subject are mapped; empty: those of others.
        validation: Images held out of a folder, subjects of BIDS, or pairs of a table; 0: a
            fifth, at most 40.
        shown: Pairs of images held out that are looked at, at most.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if there are not two images, or the table lacks a column.
    """
    path = Path(pairs)
    if not is_bids(path) and (fixed or moving):
        raise ValueError(
            f"--fixed and --moving choose images of a BIDS data set, and {pairs} is none: it is no "
            "folder with a dataset_description.json"
        )
    if path.suffix.lower() in (".csv", ".json"):
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        if labels:
            raise ValueError(f"{path} itself lists the labels of its images; leave out --labels")
        listed = read_table(path) if path.suffix.lower() == ".csv" else _learn2reg(path)
        if listed is not None:
            return _paired(listed, validation)
        cases = _learn2reg_cases(path)
    elif is_bids(path):
        cases, made, subjects = bids_pairs(path, fixed, moving, labels)
        return _held_out(cases, made, subjects, validation, shown)
    else:
        cases = _folder(path, labels)
    if len(cases) < 2:
        raise ValueError(
            f"{pairs} holds {len(cases)} images; two or more are needed to make a pair"
        )
    made = list(permutations(range(len(cases)), 2))
    return _held_out(cases, made, [str(one.image) for one in cases], validation, shown)


def _held_out(
    cases: Sequence[Case],
    pairs: Sequence[Places],
    groups: Sequence[str],
    validation: int,
    shown: int,
) -> Cases:
    """Some groups of images, such as those of a subject, are in no pair that is trained on."""
    names = list(dict.fromkeys(groups))
    count = validation or min(MOST, len(names) // SHARE)
    order = np.random.default_rng(0).permutation(len(names))
    rank = {names[group]: number for number, group in enumerate(order)}
    place = [rank[group] for group in groups]
    training = tuple(pair for pair in pairs if min(place[pair[0]], place[pair[1]]) >= count)
    if not training:
        raise ValueError(f"of {len(names)} images {count} cannot be held out; two must be left")
    # too few to hold any out: what is looked at is what is trained on
    both = [pair for pair in pairs if max(place[pair[0]], place[pair[1]]) < count] or [*training]
    both.sort(key=lambda pair: (place[pair[0]], place[pair[1]]))
    chosen = np.random.default_rng(1).permutation(len(both))[:shown]
    held = sorted(one.image.name for one, n in zip(cases, place, strict=True) if n < count)
    return Cases(tuple(cases), training, tuple(both[i] for i in chosen), tuple(held))


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


def _learn2reg(path: Path) -> Listed | None:
    """The pairs of a data set that lists some."""
    told = _json(path)
    pairs = told.get("training_paired_images")
    if not pairs:
        return None
    labels = _labels_of(told)
    return [
        (
            case(path, pair["fixed"], labels.get(pair["fixed"])),
            case(path, pair["moving"], labels.get(pair["moving"])),
            Beside(),
        )
        for pair in pairs
    ]


def _learn2reg_cases(path: Path) -> list[Case]:
    told = _json(path)
    labels = _labels_of(told)
    rows = told.get("training", ())
    return [case(path, row["image"], labels.get(row["image"])) for row in rows]


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
    cases = list(dict.fromkeys(one for pair in listed for one in pair[:2]))
    pairs = [(cases.index(one), cases.index(other)) for one, other, _ in listed]
    beside: dict[Places, Beside] = {}
    for pair, (one, other, known) in zip(pairs, listed, strict=True):
        if beside.setdefault(pair, known) != known:
            raise ValueError(
                f"{other.image.name} on {one.image.name} is listed twice, with other points or "
                "another transform; list a pair once"
            )
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
    return Cases(tuple(cases), training, looked, tuple(names), beside)

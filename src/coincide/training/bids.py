"""BIDS: the images of a data set by what their names say of them, and which make pairs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from pathlib import Path

from coincide.training.case import Case

DESCRIPTION = "dataset_description.json"
NAME = re.compile(r"(sub-[A-Za-z0-9]+(?:_[A-Za-z]+-[A-Za-z0-9+]+)*)_([A-Za-z0-9]+)\.nii(?:\.gz)?")
LABELS = "dseg"
NO_IMAGES = (LABELS, "probseg", "mask", "defacemask")  # suffixes of what is made from images
OF_LABELS = ("atlas", "seg", "label", "desc", "space")  # entities that an image need not share


@dataclass(frozen=True)
class Named:
    """A file and what its name says.

    Args:
        path: The file.
        entities: Such as `{"sub": "01", "ses": "1"}`.
        suffix: Such as `T1w`.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str

    def is_asked(self, asked: "Asked") -> bool:
        """Whether it has all the entities, and the suffix, that are asked for."""
        same = all(self.entities.get(key) == value for key, value in asked.entities.items())
        return same and asked.suffix in ("", self.suffix)


@dataclass(frozen=True)
class Asked:
    """Which files are asked for.

    Args:
        text: As it was given.
        entities: What the name must say.
        suffix: What it must end in; empty: anything.
    """

    text: str
    entities: Mapping[str, str]
    suffix: str


def is_bids(path: Path) -> bool:
    """Whether a folder is a data set, raw or derived."""
    return (path / DESCRIPTION).is_file()


def bids_pairs(
    root: Path, fixed: str = "", moving: str = "", labels: str = ""
) -> tuple[list[Case], list[tuple[int, int]], list[str]]:
    """Images of a data set, the pairs that they make, and the subject of each image.

    With `fixed` alone every image makes a pair with those of every other subject. With `moving`
    pairs are made within each subject: of two contrasts those of one session, unless a session is
    asked for; of one contrast all that the subject has.

    Args:
        root: Folder with `dataset_description.json`.
        fixed: Suffix and perhaps entities, as in the name of a file, such as `T1w` or
            `ses-1_acq-mprage_T1w`; empty: the only suffix that there is.
        moving: The same of the moving images; empty: those of other subjects.
        labels: Entities of the label maps, such as `desc-aseg`, where an image has several
            `_dseg`; empty: the only one, or none.

    Raises:
        ValueError: if there are no such images, or it is not clear which are meant.
        FileNotFoundError: if the labels that are asked for are not there.
    """
    images = [f for f in _named(root, "sub-*/**/*") if f.suffix not in NO_IMAGES]
    if not images:
        raise ValueError(
            f"{root} holds no images named as in BIDS, such as sub-01/anat/sub-01_T1w.nii.gz"
        )
    if moving and not fixed:
        raise ValueError("--moving is given without --fixed; say which images stay, too")
    first = _chosen(images, asked(fixed or _only(root, images), "--fixed"), root)
    second = _chosen(images, asked(moving, "--moving"), root) if moving else first
    chosen = list(dict.fromkeys(f.path for f in (*first, *second)))
    known = {f.path: f for f in images}
    place = {path: number for number, path in enumerate(chosen)}
    if moving:
        sessions = "ses-" not in fixed + moving and fixed != moving
        pairs = [(a, b) for a, b in product(first, second) if _within(a, b, sessions=sessions)]
        told = f"no subject has both {fixed} and {moving}" + ", of one session" * sessions
    else:
        pairs = [(a, b) for a, b in permutations(first, 2) if _sub(a) != _sub(b)]
        told = "all images are of one subject; give --moving for pairs within a subject"
    if not pairs:
        raise ValueError(f"{root} makes no pair: {told}")
    several = len({known[path].suffix for path in chosen}) > 1
    maps = _labels(root, [known[path] for path in chosen], labels, told=several)
    cases = [Case(path, maps.get(path)) for path in chosen]
    return (
        cases,
        [(place[a.path], place[b.path]) for a, b in pairs],
        [_sub(known[path]) for path in chosen],
    )


def asked(text: str, option: str) -> Asked:
    """What `ses-1_T1w` asks for.

    Raises:
        ValueError: if it is not written so.
    """
    *rest, last = text.split("_")
    suffix = "" if "-" in last else last
    entities = dict(part.split("-", 1) for part in (*rest, last) if re.fullmatch(r"\w+-\S+", part))
    if not text or len(entities) != len(rest) + (not suffix) or "=" in text or "/" in text:
        raise ValueError(
            f"of a BIDS data set, {option} says what names of files say, such as T1w or "
            f"ses-1_T1w, not {text!r}"
        )
    return Asked(text, entities, suffix)


def _named(root: Path, pattern: str) -> list[Named]:
    """All files that are named as they should be, in the order of their paths."""
    found = []
    for path in sorted(root.glob(pattern)):
        match = NAME.fullmatch(path.name)
        if match:
            entities = dict(part.split("-", 1) for part in match[1].split("_"))
            found.append(Named(path, entities, match[2]))
    return found


def _only(root: Path, images: Sequence[Named]) -> str:
    """The suffix that all images have."""
    found = [f.suffix for f in images]
    kinds = sorted(set(found))
    if len(kinds) > 1:
        told = ", ".join(f"{kind} ({found.count(kind)})" for kind in kinds)
        raise ValueError(
            f"{root} holds {told}; say which: --fixed {kinds[0]} for pairs of different subjects, "
            f"--fixed {kinds[0]} --moving {kinds[1]} for pairs within each subject"
        )
    return kinds[0]


def _chosen(images: Sequence[Named], wanted: Asked, root: Path) -> list[Named]:
    found = [f for f in images if f.is_asked(wanted)]
    if not found:
        names = ", ".join(sorted({f.suffix for f in images}))
        raise ValueError(f"{root} holds no {wanted.text}; it holds {names}")
    if "space" not in wanted.entities:  # the image itself, not what was brought elsewhere
        found = [f for f in found if "space" not in f.entities] or found
    return found


def _within(fixed: Named, moving: Named, *, sessions: bool) -> bool:
    """Whether two images of one subject make a pair."""
    if fixed.path == moving.path or _sub(fixed) != _sub(moving):
        return False
    return not sessions or fixed.entities.get("ses") == moving.entities.get("ses")


def _sub(file: Named) -> str:
    return file.entities["sub"]


def _labels(root: Path, images: Sequence[Named], text: str, *, told: bool) -> dict[Path, Path]:
    """Label map of each image that has one."""
    maps = [f for f in _named(root, "**/*") if f.suffix == LABELS]
    wanted = asked(text, "--labels") if text else Asked("", {}, "")
    maps = [f for f in maps if f.is_asked(wanted)]
    found = {}
    for image in images:
        own = [f for f in maps if _belongs(f, image, told=told)]
        if len(own) > 1:
            names = ", ".join(f.path.name for f in own)
            raise ValueError(
                f"{image.path.name} has the label maps {names}; say which by what their names "
                "say, such as --labels desc-aseg"
            )
        if own:
            found[image.path] = own[0].path
    if text and not found:
        raise FileNotFoundError(f"no image of {root} has labels {text} (files *_{LABELS}.nii.gz)")
    return found


def _belongs(labels: Named, image: Named, *, told: bool) -> bool:
    """Whether a label map is that of an image.

    Args:
        labels: The map.
        image: The image.
        told: Whether its name must say of which contrast it is, by `space-`.
    """
    both = (labels.entities, image.entities)
    source = [{k: v for k, v in e.items() if k not in OF_LABELS} for e in both]
    space, own = (e.get("space", "") for e in both)
    named = space == image.suffix and not own
    return source[0] == source[1] and (named or (space == own and not told))

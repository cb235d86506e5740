"""Scan: one image of a pair, with all that belongs to it alone."""

import glob
import hashlib
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.files.accept import as_image
from coincide.files.label_table import read_label_map, read_label_table
from coincide.files.points import load_points, read_points
from coincide.initialise.mask import with_mask
from coincide.space.image import Image
from coincide.space.label_numbers import matched_by_name, renumbered

FILES = ("", "mask", "exclude", "labels", "points")  # what of a scan may be a file; "" the image
TABLES = ("label_names", "label_map")  # what may be a file, or the table itself
DETACHED = (".hdr", ".img", ".mhd", ".nhdr", ".raw", ".zraw")  # of which two make one image
BLOCK = 2**20  # bytes read at once


@dataclass(frozen=True, eq=False)
class Scan:
    """One image of a pair, with all that belongs to it alone; files are read when it is used.

    Args:
        image: A path, `Image`, nibabel or SimpleITK image, or an (array, affine) pair.
        mask: Where the image counts, any of these: values in [0, 1] are weights, of any other
            those above 0 count in full.
        exclude: Where it does not count, such as a lesion; the same.
        labels: Label map, for scores and for the term `labels` of an objective; the same, whole
            numbers.
        points: Landmarks, for scores and for the term `landmarks`: a file, or (P, D) in RAS+ mm,
            row by row the same places as those of the other image.
        label_names: What the labels are called, by number: a table, or a file of one; those of the
            fixed image serve both.
        label_map: Number in `labels` to the number by which the other map knows the same organ,
            where the two differ: a table, or a file of one. What it does not list is left out.
        frame: Which volume of a 4-D image, from 0.
        series: UID of the DICOM series, where a folder holds several.

    Example:
        >>> Scan("ct.nii.gz", mask="lung.nii.gz").paths["mask"].endswith("lung.nii.gz")
        True
    """

    image: Any
    _: KW_ONLY
    mask: Any = None
    exclude: Any = None
    labels: Any = None
    points: Any = None
    label_names: str | Path | Mapping[int, str] | None = None
    label_map: str | Path | Mapping[int, int] | None = None
    frame: int | None = None
    series: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What was given that may be a file: the image as `""`, the others by their names."""
        named = {kind: getattr(self, kind or "image") for kind in (*FILES, *TABLES)}
        return {kind: value for kind, value in named.items() if value is not None}

    @property
    def paths(self) -> dict[str, str]:
        """Absolute paths of what was given as files, by the same names."""
        return {
            kind: str(Path(value).resolve())
            for kind, value in self.given.items()
            if isinstance(value, str | Path)
        }

    def read(self, which: str) -> "ReadScan":
        """Read all of it.

        Args:
            which: `fixed` or `moving`, for notes and errors.

        Raises:
            FileNotFoundError: if a file is not there.
            TypeError: if something is no image.
            ValueError: if something cannot be read, saying what would work.
        """
        try:
            found = as_image(self.image, frame=self.frame, series=self.series)
        except ValueError as error:
            raise ValueError(_options(str(error), which)) from error
        notes = [f"{which} image: {note}" for note in found.warnings]
        image = found.image
        for kind, out in (("mask", False), ("exclude", True)):
            if kind in self.given:
                where = as_image(self.given[kind])
                name = self.paths.get(kind, f"the {which} {kind}")
                image, more = with_mask(image, where.image, name, exclude=out)
                notes += [f"{which} {kind}: {note}" for note in (*where.warnings, *more)]
        labels = None if self.labels is None else as_labels(self.labels)
        numbers, names = self.label_map, self.label_names
        if isinstance(numbers, str | Path):
            numbers = read_label_map(numbers)
        if isinstance(names, str | Path):
            names = read_label_table(names)
        points = self.points
        if isinstance(points, str | Path):
            marked = load_points(points, image=image)
            notes += [f"{which} points: {note}" for note in marked.warnings]
            points = marked.points
        return ReadScan(
            image=image,
            labels=labels if labels is None or numbers is None else renumbered(labels, numbers),
            points=None if points is None else as_points(points),
            names=names,
            notes=tuple(notes),
            hashes={kind: content_hash(path) for kind, path in self.paths.items()},
            dtype=found.dtype,
        )


@dataclass(frozen=True, eq=False)
class ReadScan:
    """What a scan holds, read.

    Args:
        image: (1, C, *S), float32, with where it counts.
        labels: (1, 1, *L) whole numbers, on any grid, after the label map; None: not given.
        points: (P, D), RAS+ mm; None: not given.
        names: What the labels are called, by number; None: not given.
        notes: What was odd and how it was treated, one sentence each.
        hashes: SHA-256 of each file: the image's as `""`, the others' by their names.
        dtype: Number type of the image as it was given.
    """

    image: Image
    labels: Image | None
    points: np.ndarray | None
    names: Mapping[int, str] | None
    notes: tuple[str, ...]
    hashes: Mapping[str, str]
    dtype: np.dtype


def as_scan(value: Any) -> Scan:
    """A scan as it is, anything else as the image of one."""
    return value if isinstance(value, Scan) else Scan(value)


def in_one_numbering(fixed: ReadScan, moving: Scan, read: ReadScan) -> ReadScan:
    """The moving scan, its labels numbered by the names of the fixed ones.

    Only where both have names and no label map was given; else it is as it was.
    """
    if moving.label_map is not None or read.labels is None or not (fixed.names and read.names):
        return read
    numbers = matched_by_name(read.names, fixed.names)
    return replace(read, labels=renumbered(read.labels, numbers))


def as_labels(value: Any) -> Image:
    """A label map from a path or any image, int64, every label exact.

    Raises:
        ValueError: if a value is not a whole number.
    """
    return as_image(value, whole=True).image


def as_points(value: Any, image: Image | None = None) -> np.ndarray:
    """Landmarks (P, D), RAS+ mm, float64, from a file, an array or a tensor.

    Args:
        value: What was given.
        image: Whose landmarks these are, for files that count its voxels.
    """
    if isinstance(value, str | Path):
        return read_points(value, image=image)
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    return np.asarray(array, np.float64)


def content_hash(value: str | Path | Image | np.ndarray) -> str:
    """SHA-256 of what a file or folder holds, or of the voxels and the grid of an image.

    A folder is hashed file by file, with the names; a header together with the voxels beside it.

    Example:
        >>> content_hash(np.zeros((1, 3)))[:8]
        '8c9c37e2'
    """
    found = hashlib.sha256()
    if isinstance(value, Image):
        whole = not value.data.is_floating_point()
        data = value.data.detach().cpu().to(torch.int64 if whole else torch.float32)
        found.update(repr((value.grid.shape, whole)).encode())
        # files hold affines of 32 bit: an image and the same read back from a file are one
        found.update(value.grid.affine.astype(np.float32).tobytes())
        found.update(data.contiguous().numpy().tobytes())
    elif isinstance(value, np.ndarray):
        found.update(repr((value.shape, str(value.dtype))).encode())
        found.update(np.ascontiguousarray(value).tobytes())
    else:
        path = Path(value)
        for file in _files(path):
            if path.is_dir():
                found.update(file.relative_to(path).as_posix().encode())
            with file.open("rb") as stream:
                while block := stream.read(BLOCK):
                    found.update(block)
    return found.hexdigest()


def _files(path: Path) -> list[Path]:
    """All files that make up one input."""
    if path.is_dir():
        return [file for file in sorted(path.rglob("*")) if file.is_file()]
    if path.suffix.lower() not in DETACHED:
        return [path]
    beside = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    return [file for file in beside if file == path or file.suffix.lower() in DETACHED]


def _options(message: str, which: str) -> str:
    """An error of the reader with the options of the terminal that choose for this image."""
    for option in ("frame", "series"):
        message = message.replace(f"--{option}", f"--{which}-{option}")
    return message

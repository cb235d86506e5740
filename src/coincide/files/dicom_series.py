"""Series: which DICOM files, in a folder or in folders of folders, make up one series."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from coincide.files.dicom_enhanced import is_enhanced
from coincide.files.dicom_slice import Slice, slice_of
from coincide.files.dicom_volumes import names

MOST = 12  # series that a message names


@dataclass(frozen=True)
class Series:
    """One series of a folder.

    Args:
        uid: Series instance UID.
        description: Series description.
        files: Headers of its files.
        place: Folder of its first file, seen from the one that was given; empty: that one.
    """

    uid: str
    description: str
    files: tuple[Slice, ...]
    place: str = ""

    def __str__(self) -> str:
        said = [f"{len(self.files)} files", self.description or "no description"]
        return f"{self.uid} ({', '.join([*said, *([f'in {self.place}'] if self.place else [])])})"


def series_files(path: Path, series: str | None = None) -> tuple[list[Slice], tuple[str, ...]]:
    """Headers of the files of one series, and notes about how it was found.

    Args:
        path: Folder, or one file. A file that is one slice of a series stands for the series.
        series: Its UID, needed where there are several.

    Raises:
        ValueError: if there is no such series, or are several of which none is chosen.
    """
    if not path.is_dir():
        return _around(path, series)
    found, lost = series_in(path)
    notes = ()
    if lost:
        notes = (f"{len(lost)} DICOM files hold no image ({names(lost)}); they are left out",)
    if series is None and len(found) == 1:
        return list(found[0].files), notes
    listed = listing(found)
    if series is None:
        raise ValueError(
            f"{path} holds {len(found)} series: {listed}; choose one with series=UID (--series UID)"
        )
    chosen = [one for one in found if one.uid == series]
    if not chosen:
        raise ValueError(f"{path} holds no series {series}; it holds {listed}")
    return list(chosen[0].files), notes


def series_in(folder: Path) -> tuple[list[Series], list[str]]:
    """Every series of a folder, and names of DICOM files that hold no image.

    The files of the folder itself count; if there are none, those of all folders below it.

    Raises:
        ValueError: if there are none, or one in the folder itself holds no image.
    """
    files = [p for p in sorted(folder.iterdir()) if _is_dicom(p)]
    nested = not files
    if nested:
        files = [p for p in sorted(folder.rglob("*")) if _is_dicom(p)]
    slices, lost, reason = [], [], None
    for file in files:
        try:
            slices.append(slice_of(file))
        except ValueError as error:
            # the folder of a whole study has reports and the like among its images
            if not nested:
                raise
            lost.append(str(file.relative_to(folder)))
            reason = error
    if reason is not None and not slices:
        raise reason
    if not slices:
        raise ValueError(
            f"{folder} holds no DICOM files, nor does any folder in it; give an image file, or "
            "the folder of one series"
        )
    groups: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[one.series].append(one)
    found = []
    for uid, group in groups.items():
        place = str(group[0].path.parent.relative_to(folder)) if nested else ""
        found.append(Series(uid, group[0].description, tuple(group), place))
    return found, lost


def listing(found: list[Series]) -> str:
    """The series, for a message."""
    more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    return "; ".join(str(one) for one in found[:MOST]) + more


def _around(path: Path, series: str | None) -> tuple[list[Slice], tuple[str, ...]]:
    """The series that a file is a slice of, from the folder it lies in; or the file alone."""
    one = slice_of(path)
    if series is not None and one.series != series:
        raise ValueError(f"{path} is of the series {one.series}, not {series}; leave out series=")
    whole = is_enhanced(one) or one.mosaic or one.samples > 1 or not one.placed
    if whole or one.shape[2:] not in ((), (1,)) or not one.series:
        return [one], ()
    others = []
    for file in sorted(path.parent.iterdir()):
        if file == path:
            others.append(one)
        elif _is_dicom(file):
            try:
                other = slice_of(file)
            except ValueError:
                continue  # not an image, so no slice of this series
            if other.series == one.series:
                others.append(other)
    if len(others) == 1:
        return others, ()
    note = (
        f"{path.name} is one of {len(others)} slices of a series ({one.description or one.series});"
        f" the whole series in {path.parent} is read"
    )
    return others, (note,)


def _is_dicom(path: Path) -> bool:
    if not path.is_file() or path.name == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"

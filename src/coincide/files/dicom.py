"""DICOM: one series of slices in a folder as one volume."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from coincide.files.contents import Contents
from coincide.files.itk_image import from_sitk
from coincide.files.lps import affine_of
from coincide.files.stored import Stored

SERIES, POSITION, ORIENTATION = "0020|000e", "0020|0032", "0020|0037"
SPACING, DESCRIPTION, KIND = "0028|0030", "0008|103e", "0008|0008"
TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Slice:
    """What the header of one DICOM file says.

    Args:
        path: The file.
        series: Series instance UID.
        description: Series description.
        shape: Columns, rows and frames.
        position: (3,) centre of the first voxel, LPS mm; NaN where it is missing.
        orientation: (6,) direction of a row, then of a column; NaN where it is missing.
        spacing: (2,) distance between columns, then between rows, mm.
    """

    path: Path
    series: str
    description: str
    shape: tuple[int, ...]
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice, LPS."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height(self) -> float:
        """Place along the normal, mm."""
        return float(self.position @ self.normal)


def is_dicom(found: Contents) -> bool:
    """Whether a file is DICOM."""
    return found.kind == "dicom"


def read_series(path: str | Path, *, series: str | None = None, frame: int | None = None) -> Stored:
    """Read the slices of one series, sorted along their normal, rescaled to true intensities.

    Args:
        path: Folder, or one file with all frames.
        series: Series instance UID, needed where the folder holds several.
        frame: Which volume of a 4-D multi-frame file.

    Raises:
        ValueError: for mixed series, missing, doubled or uneven slices, slices that differ in
            size or direction; naming them and saying what would work.
    """
    path = Path(path)
    if path.is_file():
        return _single(path, frame)
    slices = _of_series(_slices(path), series, path)
    if len(slices) == 1:
        return _single(slices[0].path, frame)
    _alike(slices)
    slices = sorted(slices, key=lambda one: one.height)
    step = _even(slices)
    volume = np.stack([_pixels(one.path) for one in slices], -1)
    first = slices[0]
    across = (slices[-1].position - first.position) / (len(slices) - 1)
    direction = np.stack([first.orientation[:3], first.orientation[3:], across / step], 1)
    affine = affine_of(np.array([*first.spacing, step]), direction, first.position)
    notes = []
    tilt = float(np.degrees(np.arccos(np.clip(across @ first.normal / step, -1, 1))))
    if tilt > 0.1:
        notes.append(f"the slices are sheared by {tilt:.2f} degrees (gantry tilt); kept as it is")
    return Stored(volume, affine, warnings=tuple(notes))


def _slices(folder: Path) -> list[Slice]:
    files = sorted(
        p for p in folder.iterdir() if p.is_file() and p.name != "DICOMDIR" and _looks_dicom(p)
    )
    if not files:
        raise ValueError(
            f"{folder} holds no DICOM files; give an image file, or the folder of one series"
        )
    return [_slice(file) for file in files]


def _looks_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _slice(path: Path) -> Slice:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(
            f"{path} cannot be read as a DICOM image ({reason}); if it is a report or a structure "
            "set, move it to another folder"
        ) from None

    def numbers(key: str, count: int) -> np.ndarray:
        text = reader.GetMetaData(key) if reader.HasMetaDataKey(key) else ""
        parts = [part for part in text.strip().split("\\") if part.strip()]
        return np.array([float(p) for p in parts] if len(parts) == count else [np.nan] * count)

    def words(key: str) -> str:
        return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""

    rows_columns = numbers(SPACING, 2)
    if np.isnan(rows_columns).any():
        rows_columns = np.array(reader.GetSpacing()[1::-1])
    return Slice(
        path,
        words(SERIES),
        words(DESCRIPTION),
        tuple(reader.GetSize()),
        numbers(POSITION, 3),
        numbers(ORIENTATION, 6),
        rows_columns[::-1],
    )


def _of_series(slices: list[Slice], series: str | None, folder: Path) -> list[Slice]:
    groups: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        groups[one.series].append(one)
    listing = "; ".join(
        f"{uid} ({len(group)} files, {group[0].description or 'no description'})"
        for uid, group in groups.items()
    )
    if series is not None:
        if series not in groups:
            raise ValueError(f"{folder} holds no series {series}; it holds {listing}")
        return groups[series]
    if len(groups) > 1:
        raise ValueError(
            f"{folder} holds {len(groups)} series: {listing}; choose one with series=UID "
            "(--series UID)"
        )
    return slices


def _alike(slices: list[Slice]) -> None:
    lost = [s.path.name for s in slices if np.isnan([*s.position, *s.orientation]).any()]
    if lost:
        raise ValueError(
            f"{len(lost)} slices do not say where they lie ({_names(lost)}); remove them, or "
            "convert the series with dcm2niix"
        )
    first = slices[0]
    odd = [
        s.path.name
        for s in slices
        if s.shape != first.shape
        or not np.allclose(s.orientation, first.orientation, atol=1e-3)
        or not np.allclose(s.spacing, first.spacing, rtol=1e-3)
    ]
    if odd:
        raise ValueError(
            f"{len(odd)} of {len(slices)} slices differ in size, spacing or direction from "
            f"{first.path.name}: {_names(odd)} (a localiser?); move them to another folder"
        )


def _even(slices: list[Slice]) -> float:
    """Distance between neighbouring slices, mm, measured along the line through their corners."""
    heights = np.array([one.height for one in slices])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    same = np.flatnonzero(gaps < 1e-3)
    if len(same):
        pairs = [f"{slices[i].path.name} = {slices[i + 1].path.name}" for i in same]
        raise ValueError(
            f"{len(same)} slices lie at the same place as another ({_names(pairs)}); remove the "
            "doubles, or choose one time point or echo of the series"
        )
    wide = np.flatnonzero(np.abs(gaps - usual) > max(TOLERANCE * usual, 0.01))
    if len(wide):
        where = [
            f"{slices[i].path.name} to {slices[i + 1].path.name}: {gaps[i]:.3g} mm" for i in wide
        ]
        raise ValueError(
            f"the slices are not evenly spaced: usually {usual:.3g} mm, but {_names(where)}; add "
            "the missing slices, or resample the series with dcm2niix"
        )
    return float(np.linalg.norm(slices[-1].position - slices[0].position) / (len(slices) - 1))


def _pixels(path: Path) -> np.ndarray:
    """One slice (columns, rows), rescale slope and intercept applied by GDCM."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    return (array[0] if array.ndim == 3 else array).T


def _single(path: Path, frame: int | None) -> Stored:
    image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    stored = from_sitk(image, frame=frame, path=path)
    frames = stored.array.shape[-1] if stored.array.ndim == 3 else 1
    if frames == 1:
        return stored.warned("one DICOM slice; give the folder to read the whole series")
    return stored.warned(f"{frames} frames of one DICOM file are taken as evenly spaced slices")


def _names(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")

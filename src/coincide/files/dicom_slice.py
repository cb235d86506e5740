"""Slice: one slice of a DICOM file, with what its header says about place and kind."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

CLASS, INSTANCE, SERIES = "0008|0016", "0008|0018", "0020|000e"
POSITION, ORIENTATION, SPACING = "0020|0032", "0020|0037", "0028|0030"
BETWEEN, THICKNESS = "0018|0088", "0018|0050"
DESCRIPTION, KIND, INSTANCE_NUMBER = "0008|103e", "0008|0008", "0020|0013"

# by what the volumes of one series may differ, from what says most to what says least
MARKS = {
    "temporal position": "0020|0100",
    "echo number": "0018|0086",
    "echo time": "0018|0081",
    "b-value": "0018|9087",
    "inversion time": "0018|0082",
    "flip angle": "0018|1314",
    "acquisition number": "0020|0012",
    "image type": KIND,
    "trigger time": "0018|1060",
    "frame reference time": "0054|1300",
    "acquisition time": "0008|0032",
    "content time": "0008|0033",
}


@dataclass(frozen=True, eq=False)
class Slice:
    """What the header of one DICOM file, or of one frame of an enhanced one, says.

    Args:
        path: The file.
        series: Series instance UID.
        description: Series description.
        shape: Columns, rows and frames.
        position: (3,) centre of the first voxel, LPS mm; NaN where it is missing.
        orientation: (6,) direction of a row, then of a column; NaN where it is missing.
        spacing: (2,) distance between columns, then between rows, mm.
        between: Distance to the next slice, mm, as stored; NaN where it is missing.
        thickness: Thickness of the slice, mm; NaN where it is missing.
        instance: SOP instance UID, and the frame.
        kind: SOP class UID.
        number: Frame of an enhanced file; None for a file of its own.
        samples: Numbers a pixel; more than one for colours.
        scale: Slope and intercept of an enhanced frame.
        marks: What may set volumes of one series apart, by name; empty where it is missing.
    """

    path: Path
    series: str
    description: str
    shape: tuple[int, ...]
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    between: float = np.nan
    thickness: float = np.nan
    instance: str = ""
    kind: str = ""
    number: int | None = None
    samples: int = 1
    scale: tuple[float, float] = (1.0, 0.0)
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file, and the frame within it, for messages."""
        return self.path.name + ("" if self.number is None else f" frame {self.number}")

    @property
    def placed(self) -> bool:
        """Whether it says where it lies."""
        return bool(np.isfinite([*self.position, *self.orientation, *self.spacing]).all())

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice, LPS."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def height(self) -> float:
        """Place along the normal, mm."""
        return float(self.position @ self.normal)

    @property
    def mosaic(self) -> bool:
        """Whether the slice is a mosaic of Siemens', which holds a whole volume as tiles."""
        return "MOSAIC" in self.marks.get("image type", "").upper().split("\\")


def slice_of(path: Path) -> Slice:
    """Read the header of one DICOM file.

    Raises:
        ValueError: if it holds no image.
    """
    reader = opened(path)

    def numbers(key: str, count: int) -> np.ndarray:
        parts = [part for part in words(reader, key).split("\\") if part.strip()]
        return np.array([float(p) for p in parts] if len(parts) == count else [np.nan] * count)

    rows_columns = numbers(SPACING, 2)
    if np.isnan(rows_columns).any():
        # DICOM gives the distance between rows first, ITK that between columns
        rows_columns = np.array(reader.GetSpacing()[1::-1])
    marks = {name: words(reader, key) for name, key in MARKS.items()}
    return Slice(
        path,
        words(reader, SERIES),
        words(reader, DESCRIPTION),
        tuple(reader.GetSize()),
        numbers(POSITION, 3),
        numbers(ORIENTATION, 6),
        rows_columns[::-1],
        between=float(numbers(BETWEEN, 1)[0]),
        thickness=float(numbers(THICKNESS, 1)[0]),
        instance=words(reader, INSTANCE),
        kind=words(reader, CLASS),
        samples=reader.GetNumberOfComponents(),
        marks=marks | {"instance number": words(reader, INSTANCE_NUMBER)},
    )


def opened(path: Path, *, private: bool = False) -> sitk.ImageFileReader:
    """A reader that has read the header; tags of the maker's own only if `private`.

    Raises:
        ValueError: if it holds no image.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    if private:
        reader.LoadPrivateTagsOn()
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(
            f"{path} cannot be read as a DICOM image ({reason}); if it is a report or a structure "
            "set, move it to another folder"
        ) from None
    return reader


def words(reader: sitk.ImageFileReader, key: str) -> str:
    """What the header says under a tag; empty where it is missing."""
    # values are padded to an even length with a space or a zero
    return reader.GetMetaData(key).strip(" \0") if reader.HasMetaDataKey(key) else ""


def pixels(path: Path) -> np.ndarray:
    """One slice (columns, rows), rescale slope and intercept applied by GDCM."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
    # SimpleITK's arrays have the rows first
    return (array[0] if array.ndim == 3 else array).T

"""Reading images and label maps of every format."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coincide.files.contents import contents
from coincide.files.dicom import is_dicom, read_series
from coincide.files.geometry import Use
from coincide.files.itk_image import READERS, read_itk
from coincide.files.mgh import read_mgh
from coincide.files.nifti import read_nifti
from coincide.files.stored import Stored, intensities, labels
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image and what was noticed while it was read.

    Args:
        image: Voxels (1, 1, *S), grid, and a mask where voxels were not numbers.
        warnings: What was odd and how it was treated, one sentence each.
        dtype: Number type in the file.
    """

    image: Image
    warnings: tuple[str, ...]
    dtype: np.dtype


def load(
    path: str | Path,
    *,
    frame: int | None = None,
    use: Use = "auto",
    series: str | None = None,
) -> ImageFile:
    """Read an image with everything that was odd about it.

    What the file is, is seen from its first bytes, not its name. Formats: NIfTI-1 and -2 (also
    gzip-compressed and .hdr/.img), Analyze, MGH/MGZ, NRRD, MetaImage, a folder of DICOM slices,
    PNG, JPEG, TIFF.

    Args:
        path: File, or folder with one DICOM series.
        frame: Which volume of a 4-D file, from 0.
        use: Which NIfTI affine to believe: `sform`, `qform`, or `auto` for ITK's rule.
        series: UID of the DICOM series, where a folder holds several.

    Returns:
        The image, float32, in RAS+ mm, with axes in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: saying what is wrong with the file and what would work.
    """
    source = stored(path, frame=frame, use=use, series=series)
    image, warnings = intensities(source)
    return ImageFile(image, warnings, source.array.dtype)


def read_image(path: str | Path, *, frame: int | None = None, use: Use = "auto") -> Image:
    """Read an image, float32; see `load`."""
    return load(path, frame=frame, use=use).image


def read_labels(path: str | Path, *, frame: int | None = None, use: Use = "auto") -> Image:
    """Read a label map, int64, every label exact; see `load`.

    Raises:
        ValueError: also if a voxel is not a whole number, or does not fit int64.
    """
    return labels(stored(path, frame=frame, use=use))[0]


def stored(
    path: str | Path,
    *,
    frame: int | None = None,
    use: Use = "auto",
    series: str | None = None,
) -> Stored:
    """Voxels and geometry as the file holds them; see `load`."""
    path = Path(path)
    if path.is_dir():
        return read_series(path, series=series, frame=frame)
    header = re.sub(r"\.img(\.gz)?$", r".hdr\1", path.name, flags=re.IGNORECASE)
    if header != path.name and path.with_name(header).exists():
        path = path.with_name(header)
    found = contents(path)
    if found.kind in ("nifti", "analyze"):
        return read_nifti(found, frame=frame, use=use)
    if found.kind == "mgh":
        return read_mgh(found, frame=frame)
    if found.kind in READERS:
        return read_itk(found, frame=frame)
    if is_dicom(found):
        return read_series(path, frame=frame)
    raise ValueError(
        f"{path} is an HDF5 file, not an image; if it holds a transform, use read_transform"
    )

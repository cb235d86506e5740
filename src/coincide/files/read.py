"""Reading images and label maps of every format."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coincide.files.contents import contents
from coincide.files.dicom import is_dicom, read_series
from coincide.files.geometry import Use
from coincide.files.itk_image import READERS, read_itk
from coincide.files.mgh import read_mgh
from coincide.files.nifti import read_nifti
from coincide.files.stored import Keep, Stored, intensities, labels
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image and what was noticed while it was read.

    Args:
        image: Voxels (1, C, *S), C 1 unless colours were asked for, grid, and a mask where voxels
            were not numbers.
        warnings: What was odd and how it was treated, one sentence each.
        dtype: Number type of the values: that of the file, float32 where it scales them.
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
    colour: bool = False,
) -> ImageFile:
    """Read an image with everything that was odd about it.

    What the file is, is seen from its first bytes, not its name. Formats: NIfTI-1 and -2 (also
    gzip-compressed and .hdr/.img), Analyze, MGH/MGZ, NRRD, MetaImage, a folder of DICOM slices,
    PNG, JPEG, TIFF.

    Args:
        path: File, or folder with one DICOM series, which may lie in folders of its own.
        frame: Which volume of a 4-D file, from 0.
        use: Which NIfTI affine to believe: `sform`, `qform`, or `auto` for ITK's rule.
        series: UID of the DICOM series, where a folder holds several.
        colour: Keep red, green and blue as channels, (1, 3, *S); otherwise their luminance counts.

    Returns:
        The image, float32, in RAS+ mm, with axes in file order.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: saying what is wrong with the file and what would work.
    """
    keep = "colour" if colour else "one"
    source = opaque(stored(path, frame=frame, use=use, series=series, keep=keep))
    image, warnings = intensities(source)
    return ImageFile(image, warnings, value_type(source))


def read_image(path: str | Path, *, frame: int | None = None, use: Use = "auto") -> Image:
    """Read an image, float32; see `load`."""
    return load(path, frame=frame, use=use).image


def read_labels(
    path: str | Path,
    *,
    frame: int | None = None,
    use: Use = "auto",
    series: str | None = None,
) -> Image:
    """Read a label map, int64, every label exact; see `load`.

    Raises:
        ValueError: also if a voxel is not a whole number, or does not fit int64, or there are no
            labels: every voxel is 0.
    """
    image = labels(stored(path, frame=frame, use=use, series=series))[0]
    if not bool(image.data.any()):
        raise ValueError(
            f"{path} holds no labels: every voxel is 0; give the map of the structures, or none"
        )
    return image


def stored(
    path: str | Path,
    *,
    frame: int | None = None,
    use: Use = "auto",
    series: str | None = None,
    keep: Keep = "one",
) -> Stored:
    """Voxels and geometry as the file holds them; see `load`, and `Keep` for several a voxel."""
    path = Path(path)
    if path.is_dir():
        return read_series(path, series=series, frame=frame, keep=keep)
    header = re.sub(r"\.img(\.gz)?$", r".hdr\1", path.name, flags=re.IGNORECASE)
    if header != path.name and path.with_name(header).exists():
        path = path.with_name(header)
    found = contents(path)
    if is_dicom(found):
        return read_series(path, series=series, frame=frame, keep=keep)
    if series is not None:
        raise ValueError(f"{path} is a {found.kind} file, which has no DICOM series; leave it out")
    if found.kind in ("nifti", "analyze"):
        return read_nifti(found, frame=frame, use=use, keep=keep)
    if found.kind == "mgh":
        return read_mgh(found, frame=frame, keep=keep)
    if found.kind in READERS:
        return read_itk(found, frame=frame, keep=keep)
    raise ValueError(
        f"{path} is an HDF5 file, not an image; if it holds a transform, use read_transform"
    )


def value_type(source: Stored) -> np.dtype:
    """Number type of the values, which scaling makes of the voxels that are stored."""
    plain = source.slope == 1 and source.intercept == 0
    return source.array.dtype if plain else np.dtype(np.float32)


def opaque(source: Stored) -> Stored:
    """Colours without their opacity, which no similarity knows what to do with."""
    if source.channels != "colour" or source.array.shape[-1] < 4:
        return source
    return replace(source, array=source.array[..., :3]).warned("the opacity (alpha) is left out")

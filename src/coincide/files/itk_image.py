"""NRRD, MetaImage and pictures, through SimpleITK."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from coincide.files.colour import luminance
from coincide.files.contents import Contents
from coincide.files.geometry import implausible
from coincide.files.lps import affine_of, geometry_of
from coincide.files.nifti import framed
from coincide.files.stored import Keep, Stored
from coincide.space.grid import Grid

READERS = {
    "nrrd": "NrrdImageIO",
    "metaimage": "MetaImageIO",
    "png": "PNGImageIO",
    "jpeg": "JPEGImageIO",
    "tiff": "TIFFImageIO",
}
QUALITY = 95
PICTURES = ("png", "jpeg", "tiff")


def read_itk(found: Contents, *, frame: int | None = None, keep: Keep = "one") -> Stored:
    """Decode a file that SimpleITK knows.

    Raises:
        ValueError: if it is damaged, or a choice between frames is needed.
    """
    if found.packed:
        raise ValueError(
            f"{found.path} is a gzip-compressed {found.kind} file; decompress it with gunzip first"
        )
    try:
        image = sitk.ReadImage(str(found.path), imageIO=READERS[found.kind])
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{found.path} cannot be read as {found.kind}: {reason}") from None
    stored = from_sitk(image, frame=frame, path=found.path, keep=keep)
    if found.kind in PICTURES:
        affine = np.eye(len(stored.affine))
        # the identity of ITK's LPS world, in which pictures lie, seen in RAS
        affine[0, 0] = affine[1, 1] = -1
        note = f"a {found.kind.upper()} picture has no reliable voxel size; 1 mm is assumed"
        stored = replace(stored, affine=affine, warnings=(*stored.warnings, note))
    return stored.warned(*found.warnings)


def from_sitk(
    image: sitk.Image,
    *,
    frame: int | None = None,
    path: Path | str = "this image",
    keep: Keep = "one",
) -> Stored:
    """Voxels and geometry of a SimpleITK image.

    Args:
        image: 2-D, 3-D or 4-D.
        frame: Which volume of a 4-D image, or which component of a vector image.
        path: Its name, for messages.
        keep: What is wanted of several numbers a voxel.
    """
    # a copy: the view would die with the image
    array = sitk.GetArrayFromImage(image)
    dim, parts = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    spacing, origin = np.array(image.GetSpacing()), np.array(image.GetOrigin())
    direction = np.array(image.GetDirection()).reshape(dim, dim)
    if not np.isfinite(spacing).all() or (spacing == 0).any():
        raise ValueError(f"{path} has the voxel spacing {spacing.tolist()} mm; set the true one")
    notes: tuple[str, ...] = ()
    # a fourth axis is time and has no place in the world
    kept = min(dim, 3)
    colours = parts in (3, 4) and array.dtype in (np.uint8, np.uint16) and frame is None
    if colours and keep == "one":
        array, notes = luminance(array), ("colours are turned into their luminance",)
    # SimpleITK's arrays have the last axis first, and the components behind all of them
    array = array.transpose(*range(dim)[::-1], *range(dim, array.ndim))
    if colours and keep != "one" and dim == kept:
        channels = "colour"
    else:
        array, channels = framed(array, frame, path, kept, keep=keep)
        channels = "vectors" if channels and parts > 1 else channels
    affine = affine_of(spacing[:kept], direction[:kept, :kept], origin[:kept])
    notes += implausible(affine, array.shape)
    return Stored(array, affine, warnings=notes, channels=channels)


def to_sitk(array: np.ndarray, grid: Grid) -> sitk.Image:
    """A SimpleITK image of (*S) voxels, or of several numbers a voxel, (*S, C)."""
    vectors = array.ndim > grid.dim
    # turned round, since SimpleITK takes the last axis first
    order = (*range(grid.dim)[::-1], *range(grid.dim, array.ndim))
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(order)), isVector=vectors)
    spacing, direction, origin = geometry_of(grid)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin(origin.tolist())
    return image


def write_itk(array: np.ndarray, grid: Grid, temporary: Path, *, packed: bool = True) -> None:
    """Write a file that SimpleITK knows, by the suffix of `temporary`.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        # of JPEG this is the quality, of others how long to try
        level = QUALITY if temporary.suffix.lower() in (".jpg", ".jpeg") else 1
        sitk.WriteImage(to_sitk(array, grid), str(temporary), packed, compressionLevel=level)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from None


def stored_header(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine that a written file claims; reads only its header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dim = reader.GetDimension()
    direction = np.array(reader.GetDirection()).reshape(dim, dim)
    affine = affine_of(np.array(reader.GetSpacing()), direction, np.array(reader.GetOrigin()))
    return tuple(reader.GetSize()), affine

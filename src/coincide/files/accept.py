"""Accept: anything a person may hold an image in."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from nibabel.spatialimages import SpatialImage

from coincide.files.colour import colours, luminance
from coincide.files.foreign_image import foreign_kind, from_foreign
from coincide.files.geometry import choose, geometry, implausible
from coincide.files.itk_image import from_sitk
from coincide.files.nifti import framed
from coincide.files.read import ImageFile, opaque, stored, value_type
from coincide.files.stored import Keep, Stored, intensities, labels
from coincide.space.image import Image

BARE = "an array without affine= has voxels of 1 mm at the origin"


def as_image(
    value: Any,
    *,
    affine: np.ndarray | None = None,
    frame: int | None = None,
    whole: bool = False,
    series: str | None = None,
    colour: bool = False,
) -> ImageFile:
    """Turn a path, an image of another package, an array or a tensor into an image.

    Args:
        value: A path; an image of nibabel, SimpleITK, TorchIO or ANTs; a MetaTensor of MONAI; a
            NumPy array or tensor (*S), an (array, affine) pair, an `Image` or an `ImageFile`.
        affine: (D+1, D+1) voxel index to RAS+ world, mm; for arrays only. None: 1 mm voxels, which
            is said by `warnings.warn`.
        frame: Which volume of a 4-D image, from 0.
        whole: Read as a label map, int64 and exact, rather than as float32 intensities.
        series: UID of the DICOM series, where a folder holds several.
        colour: Keep red, green and blue as channels, (1, 3, *S); otherwise their luminance counts.

    Returns:
        The image, what was odd about it, and its number type.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it cannot be read as an image, or an affine is given to what has its own.
    """
    if isinstance(value, tuple) and len(value) == 2 and affine is None:
        value, affine = value
    if affine is not None and (
        not isinstance(value, np.ndarray | torch.Tensor) or foreign_kind(value)
    ):
        raise ValueError(
            f"affine= is for arrays; a {type(value).__name__} carries its own geometry"
        )
    if not isinstance(value, str | Path):
        _check_series(series)
    if isinstance(value, ImageFile):
        return value
    if isinstance(value, Image):
        dtype = np.dtype(str(value.data.dtype).removeprefix("torch."))
        return ImageFile(value if whole else value.float(), (), dtype)
    keep = "colour" if colour else "one"
    source = opaque(as_stored(value, affine=affine, frame=frame, series=series, keep=keep))
    image, notes = (labels if whole else intensities)(source)
    if BARE in notes:
        warnings.warn(BARE, UserWarning, stacklevel=2)
    return ImageFile(image, notes, source.array.dtype if whole else value_type(source))


def as_stored(
    value: Any,
    *,
    affine: np.ndarray | None = None,
    frame: int | None = None,
    series: str | None = None,
    keep: Keep = "one",
) -> Stored:
    """Voxels and geometry as they are; see `as_image`, and `Keep` for several numbers a voxel."""
    if isinstance(value, str | Path):
        return stored(value, frame=frame, series=series, keep=keep)
    _check_series(series)
    if foreign_kind(value):
        return _one_of(from_foreign(value), frame, keep, foreign_kind(value))
    if isinstance(value, sitk.Image):
        return from_sitk(value, frame=frame, keep=keep)
    if isinstance(value, SpatialImage):
        return _from_nibabel(value, frame, keep)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return _from_array(value, affine, frame, keep)
    raise TypeError(
        f"cannot take a {type(value).__name__} as an image; give a path, an image of nibabel, "
        "SimpleITK, MONAI, TorchIO or ANTs, or a NumPy array and its affine"
    )


def _check_series(series: str | None) -> None:
    if series is not None:
        raise ValueError("series= chooses from a folder of DICOM files; give the folder's path")


def _one_of(source: Stored, frame: int | None, keep: Keep, kind: str) -> Stored:
    """What is wanted of an image whose channels have been read."""
    if source.channels == "colour" and frame is None:
        if keep != "one":
            return source
        grey = replace(source, array=luminance(source.array), channels="")
        return grey.warned("colours are turned into their luminance")
    dim = source.grid.dim
    array, channels = framed(source.array, frame, f"this image of {kind}", dim, keep=keep)
    return replace(source, array=array, channels=source.channels if channels else "")


def _from_nibabel(value: SpatialImage, frame: int | None, keep: Keep) -> Stored:
    array, channels = framed(np.asanyarray(value.dataobj), frame, "this image", 3, keep=keep)
    array, channels, more = colours(array, channels, keep, "this image")
    notes: tuple[str, ...] = ()
    affine = value.affine
    if isinstance(value.header, nib.Nifti1Header):
        stated, notes = choose(geometry(value.header))
        # the header holds float32, the image float64: keep the finer where they agree
        if affine is None or not np.allclose(affine, stated, rtol=1e-5, atol=1e-4):
            affine = stated
    elif affine is None:
        affine, notes = np.eye(4), ("this image has no affine; 1 mm voxels are assumed",)
    affine = np.asarray(affine, np.float64)
    notes = (notes or implausible(affine, array.shape)) + more
    return Stored(array, affine, warnings=notes, channels=channels)


def _from_array(
    value: np.ndarray, affine: np.ndarray | None, frame: int | None, keep: Keep
) -> Stored:
    notes: tuple[str, ...] = ()
    dim = min(value.ndim, 3) if affine is None else len(affine) - 1
    if dim not in (2, 3) or value.ndim < dim:
        raise ValueError(
            f"an array of shape {value.shape} does not fit an affine of {dim} axes; give (*S) and "
            "a (D+1, D+1) affine, D 2 or 3"
        )
    if affine is None:
        affine, notes = np.eye(dim + 1), (BARE,)
    array, channels = framed(value, frame, "this array", dim, keep=keep)
    affine = np.array(affine, np.float64)
    notes = (*notes, *implausible(affine, array.shape))
    return Stored(array, affine, warnings=notes, channels=channels)

"""Accept: anything a person may hold an image in."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from nibabel.spatialimages import SpatialImage

from coincide.files.geometry import choose, geometry, implausible
from coincide.files.itk_image import from_sitk
from coincide.files.nifti import one_frame
from coincide.files.read import ImageFile, stored
from coincide.files.stored import Stored, intensities, labels
from coincide.space.image import Image


def as_image(
    value: Any, *, affine: np.ndarray | None = None, frame: int | None = None, whole: bool = False
) -> ImageFile:
    """Turn a path, nibabel or SimpleITK image, array or tensor into an image.

    Args:
        value: A path, a nibabel image, a SimpleITK image, a NumPy array or tensor (*S), an (array,
            affine) pair, an `Image` or an `ImageFile`.
        affine: (D+1, D+1) voxel index to RAS+ world, mm; for arrays only. None: 1 mm voxels.
        frame: Which volume of a 4-D image.
        whole: Read as a label map, int64 and exact, rather than as float32 intensities.

    Returns:
        The image, what was odd about it, and its number type.

    Raises:
        TypeError: if it is none of these.
        ValueError: if it cannot be read as an image, or an affine is given to what has its own.
    """
    if isinstance(value, tuple) and len(value) == 2 and affine is None:
        value, affine = value
    if affine is not None and not isinstance(value, np.ndarray | torch.Tensor):
        raise ValueError(
            f"affine= is for arrays; a {type(value).__name__} carries its own geometry"
        )
    if isinstance(value, ImageFile):
        return value
    if isinstance(value, Image):
        dtype = np.dtype(str(value.data.dtype).removeprefix("torch."))
        return ImageFile(value if whole else value.float(), (), dtype)
    source = _stored(value, affine, frame)
    image, warnings = (labels if whole else intensities)(source)
    return ImageFile(image, warnings, source.array.dtype)


def _stored(value: Any, affine: np.ndarray | None, frame: int | None) -> Stored:
    if isinstance(value, str | Path):
        return stored(value, frame=frame)
    if isinstance(value, sitk.Image):
        return from_sitk(value, frame=frame)
    if isinstance(value, SpatialImage):
        return _from_nibabel(value, frame)
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return _from_array(value, affine, frame)
    raise TypeError(
        f"cannot take a {type(value).__name__} as an image; give a path, a nibabel or SimpleITK "
        "image, or a NumPy array and its affine"
    )


def _from_nibabel(value: SpatialImage, frame: int | None) -> Stored:
    array = one_frame(np.asanyarray(value.dataobj), frame, "this image", 3)
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
    return Stored(array, affine, warnings=notes or implausible(affine, array.shape))


def _from_array(value: np.ndarray, affine: np.ndarray | None, frame: int | None) -> Stored:
    notes: tuple[str, ...] = ()
    dim = min(value.ndim, 3) if affine is None else len(affine) - 1
    if dim not in (2, 3) or value.ndim < dim:
        raise ValueError(
            f"an array of shape {value.shape} does not fit an affine of {dim} axes; give (*S) and "
            "a (D+1, D+1) affine, D 2 or 3"
        )
    if affine is None:
        affine = np.eye(dim + 1)
        notes = ("an array without affine= has voxels of 1 mm at the origin",)
    array = one_frame(value, frame, "this array", dim)
    affine = np.array(affine, np.float64)
    return Stored(array, affine, warnings=(*notes, *implausible(affine, array.shape)))

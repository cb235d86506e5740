"""Alike: an image as the kind of object that another one is."""

import sys
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from nibabel.spatialimages import SpatialImage

from coincide.files.foreign_image import channel_axis, foreign_kind
from coincide.files.itk_image import to_sitk
from coincide.files.lps import geometry_of
from coincide.files.nifti_write import header_for
from coincide.space.grid import Grid
from coincide.space.image import Image


def alike(array: np.ndarray, grid: Grid, like: Any) -> Any:
    """Voxels on a grid as an object of the type of `like`.

    A nibabel or SimpleITK image, a MetaTensor, an image of TorchIO or ANTs, an array or a tensor
    gives another one of its kind; of everything else, such as a path, an `Image`.

    Args:
        array: (*S), or (*S, C) where there are several numbers a voxel.
        grid: Where the voxels lie.
        like: What the result shall be like; a pair of an array and an affine counts as the array.
    """
    if isinstance(like, tuple):
        like = like[0]
    kind = foreign_kind(like)
    if kind:
        return {"monai": _monai, "torchio": _torchio, "ants": _ants}[kind](array, grid, like)
    if isinstance(like, sitk.Image):
        return to_sitk(array, grid)
    if isinstance(like, SpatialImage):
        header = header_for(array.shape, array.dtype, grid)
        made = nib.Nifti1Image(array, header.get_sform(), header)
        return made if isinstance(like, nib.Nifti1Image) else type(like).from_image(made)
    if isinstance(like, np.ndarray):
        return array
    if isinstance(like, torch.Tensor):
        return torch.from_numpy(np.ascontiguousarray(array)).to(like.device)
    data = array[None] if array.ndim == grid.dim else np.moveaxis(array, -1, 0)
    return Image(torch.from_numpy(np.ascontiguousarray(data))[None], grid)


def _monai(array: np.ndarray, grid: Grid, like: Any) -> Any:
    axis, several = channel_axis(like), array.ndim > grid.dim
    if axis is not None and not several:
        array = array[..., None]
    if axis == 0:
        array = np.moveaxis(array, -1, 0)
    data = torch.from_numpy(np.ascontiguousarray(array)).to(like.device, like.dtype)
    meta = {k: v for k, v in like.meta.items() if k not in ("affine", "original_affine")}
    if "spatial_shape" in meta:
        meta["spatial_shape"] = np.array(grid.shape)
    meta["space"] = "RAS"
    return type(like)(data, affine=torch.tensor(_full(grid)), meta=meta)


def _torchio(array: np.ndarray, grid: Grid, like: Any) -> Any:
    array = array if array.ndim > grid.dim else array[..., None]
    array = np.moveaxis(array, -1, 0)
    if grid.dim == 2:
        array = array[..., None]
    data = torch.from_numpy(np.ascontiguousarray(array)).to(like.data.dtype)
    return type(like)(tensor=data, affine=_full(grid))


def _ants(array: np.ndarray, grid: Grid, like: Any) -> Any:
    several = array.ndim > grid.dim
    frames = several and int(like.dimension) > grid.dim
    spacing, direction, origin = geometry_of(grid)
    if frames:  # a fourth axis of its own
        spacing, origin = (np.append(a, b[grid.dim]) for a, b in _last(spacing, origin, like))
        wide = np.eye(grid.dim + 1)
        wide[:-1, :-1] = direction
        direction = wide
    # the package is loaded, since there is an image of it
    ants = sys.modules[type(like).__module__.partition(".")[0]]
    return ants.from_numpy(
        np.ascontiguousarray(array).astype(like.dtype),
        origin=origin.tolist(),
        spacing=spacing.tolist(),
        direction=direction,
        has_components=several and not frames,
    )


def _last(spacing: np.ndarray, origin: np.ndarray, like: Any) -> Any:
    return ((spacing, like.spacing), (origin, like.origin))


def _full(grid: Grid) -> np.ndarray:
    """The affine with three axes, as TorchIO and MONAI write all of them."""
    return np.asarray(header_for((*grid.shape, 1)[:3], np.dtype(np.float32), grid).get_sform())

"""Displacement fields as images: 5-D NIfTI, and vector images of ITK."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.files.contents import Contents
from coincide.files.geometry import choose, geometry
from coincide.files.itk_member import displacement_of, vectors_of
from coincide.files.lps import affine_of, flip
from coincide.files.nifti import first_voxel, parse
from coincide.files.nifti_write import encoded, header_for
from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement

DISPVECT, VECTOR = 1006, 1007


def field_nifti(displacement: Displacement, *, packed: bool) -> bytes | memoryview:
    """The bytes of a 5-D NIfTI file that ITK, ANTs and 3D Slicer read as a displacement.

    The intent is VECTOR and the components are LPS mm, as ANTs writes its warps: every version of
    ITK reads that alike.
    """
    assert displacement.grid is not None
    grid = displacement.grid
    vectors = vectors_of(displacement.field)
    # back to the order i, j, k, in which a NIfTI file counts its axes
    array = vectors.transpose(*range(grid.dim)[::-1], grid.dim)
    array = array.reshape(*grid.shape, *(1,) * (4 - grid.dim), grid.dim)
    header = header_for(array.shape, array.dtype, grid)
    header.set_intent("vector")
    return encoded(array, header, packed=packed)


def read_field(found: Contents) -> Displacement:
    """A displacement from a NIfTI file or an ITK vector image.

    NIfTI components are RAS where the intent is DISPVECT (1006), LPS otherwise.

    Raises:
        ValueError: if the file does not hold one vector a voxel.
    """
    if found.kind != "nifti":
        return _from_sitk(found.path)
    header = parse(found.data)
    shape = tuple(int(n) for n in header.get_data_shape())
    dim = shape[-1] if len(shape) == 5 else 0
    # the fourth axis is time, and the vectors stand along the fifth
    if dim not in (2, 3) or shape[3] != 1 or (dim == 2 and shape[2] != 1):
        raise ValueError(
            f"{found.path} has the shape {shape}; a displacement field has (x, y, z, 1, 3) or "
            "(x, y, 1, 1, 2) — is this an image?"
        )
    count, start = int(np.prod(shape)), first_voxel(header)[0]
    kind = header.get_data_dtype()
    if len(found.data) < start + count * kind.itemsize:
        raise ValueError(f"{found.path} is cut off; copy or download it again")
    vectors = np.frombuffer(found.data, kind, count, start).reshape(shape, order="F")
    vectors = vectors.reshape(*shape[:dim], dim, order="F")
    affine, _ = choose(geometry(header))
    # in 2-D without the row and the column of the third axis
    keep = [*range(dim), 3]
    grid = Grid(shape[:dim], affine[np.ix_(keep, keep)])
    back = vectors.transpose(*range(dim)[::-1], dim)
    result = displacement_of(back, grid)
    if int(header["intent_code"]) == DISPVECT:
        with torch.no_grad():
            # they were taken for LPS, as in all other files, so the first two are turned back
            signs = torch.tensor(flip(dim), dtype=result.field.dtype)
            result.field.mul_(signs.view(-1, *(1,) * dim))
    return result


def _from_sitk(path: Path) -> Displacement:
    image = sitk.ReadImage(str(path))
    dim = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() != dim:
        raise ValueError(
            f"{path} has {image.GetNumberOfComponentsPerPixel()} numbers a voxel, a displacement "
            f"needs {dim}; is this an image?"
        )
    affine = affine_of(
        np.array(image.GetSpacing()), np.array(image.GetDirection()), np.array(image.GetOrigin())
    )
    return displacement_of(sitk.GetArrayFromImage(image), Grid(tuple(image.GetSize()), affine))

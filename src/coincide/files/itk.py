"""Transforms in the files of ITK, ANTs and 3D Slicer."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from coincide.files.atomic import atomic, suffixes
from coincide.files.contents import contents
from coincide.files.itk_field import field_nifti, read_field
from coincide.files.itk_h5 import read_h5, write_h5
from coincide.files.itk_matrix import from_mat, from_text, mat_of, one_matrix, text_of
from coincide.files.itk_member import ItkMember, sampling_grid
from coincide.space.grid import Grid
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform

HDF5 = (".h5", ".hdf5")
TEXT = (".tfm", ".txt")
NIFTI = (".nii", ".nii.gz")
KNOWN = ".h5, .tfm, .txt, .mat, .nii.gz, .nii"


def write_transform(transform: Transform, path: str | Path, *, grid: Grid | None = None) -> None:
    """Write a transform so that ITK, ANTs and 3D Slicer map the same points to the same places.

    | suffix | holds |
    |---|---|
    | `.h5` | anything; linear maps and displacements exactly, others also as themselves for us |
    | `.tfm`, `.txt`, `.mat` | linear maps only |
    | `.nii.gz`, `.nii` | one displacement field, as antsApplyTransforms reads it |

    Args:
        transform: Fixed-world to moving-world points, RAS+ mm; one pair.
        path: Where to.
        grid: Where to sample what ITK cannot hold otherwise; None: on its own grid.

    Raises:
        ValueError: if the format is not known or cannot hold the transform.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    suffix = suffixes(path).lower()
    if suffix in HDF5:
        members = list(transform) if isinstance(transform, Composite) else [transform]
        if not members:
            if grid is None:
                raise ValueError("this composite is empty; give grid= to say its dimension")
            members = [Affine(np.eye(grid.dim + 1))]
        with atomic(path) as temporary:
            write_h5(members, temporary, grid)
    elif suffix in (*TEXT, ".mat"):
        member = one_matrix(transform, suffix)
        data = mat_of(member) if suffix == ".mat" else text_of(member).encode()
        with atomic(path) as temporary:
            temporary.write_bytes(data)
    elif suffix in NIFTI:
        block = field_nifti(_sampled(transform, grid), packed=suffix == ".nii.gz")
        with atomic(path) as temporary:
            temporary.write_bytes(block)
    else:
        raise ValueError(f"cannot tell the format of {path.name}; known: {KNOWN}")


def read_transform(path: str | Path) -> Transform:
    """Read a transform of ours, or of ITK, ANTs or 3D Slicer.

    Our own `.h5` files give back the very parametrisation that was written. Of others, every
    linear transform and displacement field of ITK is understood.

    Returns:
        Fixed-world to moving-world points, RAS+ mm; a `Composite` if the file holds several.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: saying what the file is and what would work.
    """
    path = Path(path)
    suffix = suffixes(path).lower()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if suffix in HDF5:
        members = read_h5(path)
        members = _by_sitk(path) if members is None else members
    elif suffix == ".mat":
        members = [from_mat(path).transform()]
    elif suffix in TEXT:
        found = from_text(path.read_text(errors="replace"))
        if not found:
            raise ValueError(f"{path} is not an ITK transform file: it names no Transform")
        exact = all(member.exact for member in found)
        members = [member.transform() for member in found] if exact else _by_sitk(path)
    else:
        members = [read_field(contents(path))]
    return members[0] if len(members) == 1 else Composite(members)


def _sampled(transform: Transform, grid: Grid | None) -> Displacement:
    only = list(transform) if isinstance(transform, Composite) else [transform]
    if grid is None and len(only) == 1:
        if isinstance(only[0], Displacement):
            return only[0]
        grid = sampling_grid(only[0])
    if grid is None:
        raise ValueError(
            "a displacement image of a chain or a linear map needs a grid; give grid=, such as "
            "that of the fixed image, or save as .h5"
        )
    return Displacement(field=transform.displacement(grid).detach(), grid=grid)


def _by_sitk(path: Path) -> list[Transform]:
    try:
        whole = sitk.ReadTransform(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} cannot be read as an ITK transform: {reason}") from None
    return [_member(one).transform() for one in _flat(whole)]


def _flat(transform: sitk.Transform) -> list[sitk.Transform]:
    transform = transform.Downcast()
    if not isinstance(transform, sitk.CompositeTransform):
        return [transform]
    count = transform.GetNumberOfTransforms()
    return [one for n in range(count) for one in _flat(transform.GetNthTransform(n))]


def _member(transform: sitk.Transform) -> ItkMember:
    if isinstance(transform, sitk.DisplacementFieldTransform):
        dim = transform.GetDimension()
        fixed = np.array(transform.GetFixedParameters())
        kind = f"DisplacementFieldTransform_double_{dim}_{dim}"
        return ItkMember(kind, np.array(transform.GetParameters()), fixed)
    if not transform.IsLinear():
        raise ValueError(
            f"ITK's {transform.GetName()} is not understood; turn it into a displacement field "
            "with SimpleITK.TransformToDisplacementField, save that as .nii.gz and read it"
        )
    dim = transform.GetDimension()
    origin = np.array(transform.TransformPoint([0.0] * dim))
    columns = [np.array(transform.TransformPoint(row.tolist())) - origin for row in np.eye(dim)]
    return ItkMember(
        f"AffineTransform_double_{dim}_{dim}",
        np.concatenate([np.stack(columns, 1).ravel(), origin]),
        np.zeros(dim),
    )

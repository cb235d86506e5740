"""Transforms in the files of ITK, ANTs and 3D Slicer."""

from pathlib import Path

import numpy as np

from coincide.files.atomic import atomic, suffixes
from coincide.files.contents import contents
from coincide.files.flirt import is_flirt
from coincide.files.itk_field import field_nifti, read_field
from coincide.files.itk_foreign import transform_of
from coincide.files.itk_h5 import read_h5, write_h5
from coincide.files.itk_matrix import from_mat, from_text, mat_of, one_matrix, text_of
from coincide.files.itk_member import sampling_grid
from coincide.files.itk_several import picked
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
    | `.h5` | anything; linear maps, displacements, B-splines exactly, others also as themselves |
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


def read_transform(path: str | Path, *, frame: int | None = None) -> Transform:
    """Read a transform of ours, or of ITK, ANTs or 3D Slicer.

    Our own `.h5` files give back the very parametrisation that was written. Of others, every
    linear transform, displacement field and cubic B-spline of ITK is understood.

    Args:
        path: The file.
        frame: Which transform, from 0, of a file that holds one for each time point.

    Returns:
        Fixed-world to moving-world points, RAS+ mm; a `Composite` if the file holds one.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: saying what the file is and what would work; also if it holds several
            transforms that no composite joins, and `frame` does not choose one.
    """
    path = Path(path)
    suffix = suffixes(path).lower()
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if is_flirt(path):
        raise ValueError(
            f"{path} is a matrix of FSL's FLIRT, which means something only beside the two images "
            f"it is of; convert it: coincide convert {path.name} {path.stem}.tfm --on FIXED "
            "--moving MOVING, with what FLIRT was given as -ref and -in; alone, it is also taken "
            "by coincide warp MOVING MATRIX --on FIXED"
        )
    if suffix in HDF5:
        members = read_h5(path, frame)
    elif suffix in TEXT:
        found = from_text(path.read_text(errors="replace"))
        if not found:
            raise ValueError(f"{path} is not an ITK transform file: it names no Transform")
        chosen = picked([member.kind for member in found], frame, path)
        members = [transform_of(found[number], path) for number in chosen]
    else:
        picked([suffix], frame, path)  # these hold one
        mat = suffix == ".mat"
        members = [transform_of(from_mat(path), path) if mat else read_field(contents(path))]
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

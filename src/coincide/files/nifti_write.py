"""NIfTI-1 and NIfTI-2: encoding."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.spatialimages import HeaderDataError

from coincide.files.layout import copied
from coincide.files.lps import shear
from coincide.space.grid import Grid

LARGEST = 32767
LEVEL = 1
ONCE = 1 << 26  # bytes up to which a file is made in memory, which is faster
CHUNK = 1 << 24  # bytes written at once of a larger one


def write_nifti(
    path: Path,
    array: np.ndarray,
    grid: Grid,
    *,
    packed: bool,
    interval: float = 0.0,
    intent: int = 0,
) -> None:
    """Write a NIfTI file; NIfTI-2 if an axis is too long for NIfTI-1.

    sform and qform are both set with code 1, or the sform alone where the axes are not at right
    angles, which a qform cannot say. The unit is mm. The planes of a large array are written one
    after the other, so that little memory is needed beside it.

    Args:
        path: Where to.
        array: (*S) or (*S, frames), of the type to be stored; colours as a structured type.
        grid: Where the voxels lie.
        packed: Compress with gzip.
        interval: Time between frames, s; 0: unknown.
        intent: NIfTI's code for what the numbers are.
    """
    if grid.dim == 2 and array.ndim > 2:
        array = array[:, :, None]
    header = header_for(array.shape, array.dtype, grid)
    if interval and array.ndim > 3:
        header["pixdim"][4] = interval
    header["intent_code"] = intent
    if array.nbytes <= ONCE:
        path.write_bytes(encoded(array, header, packed=packed))
        return
    rest = array.reshape(*array.shape[:2], -1, order="F") if array.ndim > 2 else array[..., None]
    step = max(1, CHUNK // max(1, rest[..., 0].nbytes))
    with path.open("wb") as raw, _packing(raw, packed) as file:
        file.write(header.binaryblock + bytes(4))
        for start in range(0, rest.shape[2], step):
            part = rest[:, :, start : start + step]
            block = np.empty(part.shape, part.dtype, order="F")
            file.write(copied(part, block).ravel(order="F").view(np.uint8).data)


@contextmanager
def _packing(raw: BinaryIO, packed: bool) -> Iterator[BinaryIO]:
    if not packed:
        yield raw
        return
    # no name and no time: the same image gives the same bytes
    with igzip.IGzipFile("", "wb", LEVEL, raw, mtime=0) as file:
        yield file  # type: ignore[misc]


def header_for(shape: tuple[int, ...], dtype: np.dtype, grid: Grid) -> nib.Nifti1Header:
    """A NIfTI header with its geometry set."""
    header = nib.Nifti2Header() if max(shape) > LARGEST else nib.Nifti1Header()
    header.set_data_shape(shape)
    try:
        header.set_data_dtype(dtype)
    except HeaderDataError:
        raise ValueError(f"NIfTI cannot hold {dtype}; use int16, uint8, int32 or float32") from None
    affine = np.eye(4)
    affine[: grid.dim, : grid.dim] = grid.affine[:-1, :-1]
    affine[: grid.dim, 3] = grid.affine[:-1, -1]
    header.set_sform(affine, 1)
    header.set_qform(affine, 0 if shear(grid.affine) > 0.01 else 1, strip_shears=True)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["magic"] = header.single_magic
    header["vox_offset"] = len(header.binaryblock) + 4
    return header


def encoded(array: np.ndarray, header: nib.Nifti1Header, *, packed: bool) -> bytes | memoryview:
    """Header and voxels in file order, in one block."""
    start = int(header["vox_offset"])
    block = np.zeros(start + array.nbytes, np.uint8)
    block[: start - 4] = np.frombuffer(header.binaryblock, np.uint8)
    copied(array, block[start:].view(array.dtype).reshape(array.shape, order="F"))
    return igzip.compress(block.data, LEVEL, mtime=0) if packed else block.data

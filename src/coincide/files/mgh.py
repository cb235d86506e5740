"""MGH and MGZ, the volumes of FreeSurfer: decoding and encoding."""

from io import BytesIO

import numpy as np
from isal import igzip
from nibabel.freesurfer.mghformat import MGHHeader

from coincide.files.contents import Contents
from coincide.files.geometry import implausible
from coincide.files.layout import copied
from coincide.files.nifti import framed
from coincide.files.nifti_write import LEVEL
from coincide.files.stored import Keep, Stored
from coincide.space.grid import Grid

START = 284
KINDS = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}
CODES = {np.dtype(kind).newbyteorder("="): code for code, kind in KINDS.items()}


def read_mgh(found: Contents, *, frame: int | None = None, keep: Keep = "one") -> Stored:
    """Decode an MGH volume, whose bytes are big-endian.

    Raises:
        ValueError: if data are missing, or a choice between frames is needed.
    """
    header = MGHHeader.from_fileobj(BytesIO(found.data[: START + 20].ljust(START + 20, b"\0")))
    shape = tuple(int(n) for n in header["dims"])
    kind = np.dtype(KINDS[int(header["type"])])
    count = int(np.prod(shape))
    if len(found.data) < START + count * kind.itemsize:
        raise ValueError(f"{found.path} is cut off: {shape} voxels do not fit; copy it again")
    array = np.frombuffer(found.data, kind, count, START).reshape(shape, order="F")
    notes = list(found.warnings)
    if not int(header["goodRASFlag"]):
        notes.append("the header does not say where the image is; FreeSurfer's coronal default")
    affine = np.asarray(header.get_affine(), np.float64)
    notes.extend(implausible(affine, shape))
    array, channels = framed(array, frame, found.path, 3, keep=keep)
    return Stored(array, affine, warnings=tuple(notes), channels=channels)


def encode_mgh(array: np.ndarray, grid: Grid) -> bytes:
    """The bytes of an MGH file.

    Args:
        array: (*S) or (*S, frames), uint8, int16, int32 or float32.
        grid: Where the voxels lie.

    Raises:
        ValueError: if the format has no such number type.
    """
    if array.dtype not in CODES:
        known = ", ".join(str(kind) for kind in CODES)
        raise ValueError(f"MGH cannot hold {array.dtype}; it holds {known}")
    if grid.dim != 3:
        raise ValueError(f"MGH holds 3-D images, not {grid.dim}-D; write .nii.gz")
    header = MGHHeader()
    header["dims"] = (*array.shape, 1)[:4]
    header["type"] = CODES[array.dtype]
    header["goodRASFlag"] = 1
    header["delta"] = grid.spacing
    header["Mdc"] = grid.direction.T
    header["Pxyz_c"] = grid.to_world(np.array(grid.shape) / 2)
    start = header.binaryblock[:START].ljust(START, b"\0")
    voxels = np.empty(array.size, array.dtype.newbyteorder(">"))
    copied(array, voxels.reshape(array.shape, order="F"))
    return start + voxels.tobytes()


def stored_header(data: bytes) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine that an encoded, uncompressed MGH block claims."""
    header = MGHHeader.from_fileobj(BytesIO(data[: START + 20].ljust(START + 20, b"\0")))
    return tuple(int(n) for n in header["dims"]), np.asarray(header.get_affine(), np.float64)


def squeezed(block: bytes) -> bytes:
    """An MGH block as MGZ."""
    return igzip.compress(block, LEVEL, mtime=0)

"""NIfTI-1, NIfTI-2 and Analyze: decoding."""

from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

from coincide.files.colour import colours
from coincide.files.contents import Contents, kind_of, unpacked
from coincide.files.geometry import Use, choose, geometry, implausible
from coincide.files.nifti_extension import malformed
from coincide.files.stored import Keep, Stored
from coincide.space.grid import Grid

RGB = (128, 2304)
LONGEST = 540  # bytes of a NIfTI-2 header, extensions apart


def read_nifti(
    found: Contents, *, frame: int | None = None, use: Use = "auto", keep: Keep = "one"
) -> Stored:
    """Decode a NIfTI or Analyze file.

    Args:
        found: Its bytes; for a .hdr/.img pair those of either.
        frame: Which volume of a 4-D file.
        use: Which affine to believe.
        keep: What is wanted of several numbers a voxel.

    Raises:
        ValueError: if data are missing, or a choice between volumes is needed.
    """
    header, data, path = _header(found)
    shape = tuple(int(n) for n in header.get_data_shape())
    kind = header.get_data_dtype()
    count = int(np.prod(shape, dtype=np.int64))
    single = path == found.path
    offset, odd = first_voxel(header) if single else (0, ())
    if not shape or count <= 0:
        raise ValueError(f"{found.path} has the shape {shape}: it holds no voxels")
    if len(data) - offset < count * kind.itemsize:
        raise ValueError(
            f"{path} is cut off: {shape} voxels of {kind} need {count * kind.itemsize} bytes after "
            f"the header, {max(0, len(data) - offset)} are there; copy or download it again"
        )
    array = np.frombuffer(data, kind, count, offset).reshape(shape, order="F")
    dim = 2 if _flat(header) else 3
    array, channels = framed(array, frame, found.path, dim, keep=keep)
    array, channels, notes = colours(array, channels, keep, found.path)
    if "sform_code" in header:
        affine, more = choose(geometry(header), use)
        slope, intercept, scaling = _scaling(header)
    else:
        affine, more = _analyze_affine(header, shape)
        slope, intercept, scaling = 1.0, 0.0, ()
    if dim == 2:
        affine, flat = _in_plane(affine)
        more += flat
    if "sform_code" in header:
        end = offset if single else len(found.data)
        odd += malformed(found.data, len(header.binaryblock), end, header.endianness)
    warnings = (*found.warnings, *odd, *more, *scaling, *notes)
    interval = _interval(header) if channels == "frames" else 0.0
    intent = int(header["intent_code"]) if "intent_code" in header else 0
    return Stored(array, affine, slope, intercept, warnings, channels, interval, intent)


def framed(
    array: np.ndarray, frame: int | None, path: Path | str, dim: int, *, keep: Keep
) -> tuple[np.ndarray, str]:
    """One frame (*S), or all of them (*S, C) where all are wanted; and what the last axis counts.

    Args:
        array: (*S, ...) voxels.
        frame: Which frame; None: the only one, or all.
        path: The file, for messages.
        dim: Axes of space.
        keep: What is wanted.
    """
    several = array.ndim > dim and max(array.shape[dim:]) > 1
    if frame is not None or keep != "all" or not several:
        return one_frame(array, frame, path, dim), ""
    # NIfTI keeps its fourth axis for time, so that vectors have a fifth
    kind = "vectors" if array.ndim > dim + 1 and array.shape[dim] == 1 else "frames"
    return array.reshape(*array.shape[:dim], -1, order="F"), kind


def one_frame(array: np.ndarray, frame: int | None, path: Path | str, dim: int) -> np.ndarray:
    """The image of `dim` axes that is wanted of an array that may have more.

    Raises:
        ValueError: if there are several and none is chosen, or that one does not exist.
    """
    # axes of one voxel behind the image are no frames to choose from
    while array.ndim > dim and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim <= dim:
        if frame not in (None, 0):
            raise ValueError(f"{path} has one frame, number 0; frame {frame} does not exist")
        return array[(..., *(None,) * (dim - array.ndim))]
    extra = array.shape[dim:]
    # frames are counted as they stand in the file: the first of the further axes fastest
    flat = array.reshape(*array.shape[:dim], -1, order="F")
    if frame is None:
        raise ValueError(
            f"{path} has the shape {array.shape}, that is {flat.shape[-1]} frames of {dim} axes, "
            f"where one is expected; choose one of 0 to {flat.shape[-1] - 1} with frame=N "
            "(--frame N)" + (" — or is this a displacement field?" if extra == (1, dim) else "")
        )
    if not 0 <= frame < flat.shape[-1]:
        raise ValueError(f"{path} has frames 0 to {flat.shape[-1] - 1}; frame {frame} is not there")
    return flat[..., frame]


def grid_in(path: Path) -> Grid | None:
    """The grid of a single-file NIfTI image; reads only its beginning. None: it is none."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with igzip.IGzipFile(path, "rb") if packed else path.open("rb") as file:
        data = file.read(LONGEST)
    if kind_of(data) != "nifti":
        return None
    header = parse(data)
    shape = (*(int(n) for n in header.get_data_shape()[:3]), 1, 1, 1)
    dim = 2 if _flat(header) else 3
    if min(shape) < 1:
        return None  # reading the whole file says what is wrong
    affine, _ = choose(geometry(header))
    return Grid(shape[:dim], _in_plane(affine)[0] if dim == 2 else affine)


def stored_header(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape and affine that a written NIfTI file claims; reads only its beginning."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with igzip.IGzipFile(path, "rb") if packed else path.open("rb") as file:
        header = parse(file.read(LONGEST))
    affine, _ = choose(geometry(header), "sform")
    return tuple(header.get_data_shape()), affine


def parse(data: bytes):
    """The nibabel header in the first 540 bytes: NIfTI-1, NIfTI-2 or Analyze.

    Raises:
        ValueError: if the header is cut off.
    """
    first = int.from_bytes(data[:4], "little")
    if data[344:348] in (b"n+1\0", b"ni1\0"):
        kind = nib.Nifti1Header
    # the length of a NIfTI-2 header, in either byte order
    elif first in (540, int.from_bytes(b"\0\0\x02\x1c", "little")):
        kind = nib.Nifti2Header
    else:
        kind = nib.Spm99AnalyzeHeader
    size = kind.template_dtype.itemsize
    if len(data) < size:
        raise ValueError(f"the header is cut off: {len(data)} of {size} bytes are there")
    # the fixed part alone: nibabel's from_fileobj would also read the extensions that may follow
    return kind(data[:size], check=False)


def first_voxel(header) -> tuple[int, tuple[str, ...]]:
    """Where the voxels of a single file begin, in bytes, and a note if the header errs there."""
    offset, least = int(header.get_data_offset()), len(header.binaryblock)
    if offset >= least:
        return offset, ()
    note = (
        f"the header says that the voxels begin at byte {offset}, inside the header itself; "
        f"they are read from byte {least + 4}"
    )
    return least + 4, (note,)


def _header(found: Contents):
    try:
        header = parse(found.data)
    except ValueError as error:
        raise ValueError(f"{found.path}: {error}; copy or download it again") from None
    single = found.data[344:348] == b"n+1\0" or found.data[4:8] == b"n+2\0"
    if single:
        return header, found.data, found.path
    name = found.path.name
    pair = found.path.with_name(name.replace(".hdr", ".img").replace(".HDR", ".IMG"))
    if pair == found.path:
        raise ValueError(f"{found.path} is the header of a .hdr/.img pair; call it something.hdr")
    if not pair.exists():
        raise FileNotFoundError(f"{found.path} needs its voxels in {pair}, which does not exist")
    data = pair.read_bytes()
    return header, unpacked(data, pair) if pair.suffix.lower() == ".gz" else data, pair


def _interval(header) -> float:
    """Time from one frame to the next, s; 0 where the header does not say."""
    if "xyzt_units" not in header:
        return 0.0
    unit = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}.get(int(header["xyzt_units"]) & 56, 0.0)
    value = float(header["pixdim"][4]) * unit
    return value if np.isfinite(value) and value > 0 else 0.0


def _flat(header) -> bool:
    return int(header["dim"][0]) == 2


def _scaling(header) -> tuple[float, float, tuple[str, ...]]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # the standard: a slope of zero means that values are not scaled
    if slope == 0:
        return 1.0, 0.0, ()
    if not np.isfinite(slope) or not np.isfinite(intercept):
        # NaN in both is how several tools write "no scaling"
        if np.isnan(slope) and (np.isnan(intercept) or intercept == 0):
            return 1.0, 0.0, ()
        note = f"the scaling in the header is slope {slope}, intercept {intercept}; ignored"
        return 1.0, 0.0, (note,)
    return slope, intercept, ()


def _analyze_affine(header, shape: tuple[int, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    spacing = np.abs(np.array(header["pixdim"][1:4], np.float64))
    size = np.array((*shape, 1, 1)[:3])
    spacing = np.where((size == 1) & (spacing == 0), 1.0, spacing)
    affine = np.diag([*spacing, 1.0])
    # about the origin, so that two such images at least begin on top of each other
    affine[:3, 3] = -spacing * (size - 1) / 2
    note = "an Analyze file does not say which way it faces; left and right cannot be told apart"
    return affine, (note, *implausible(affine, (*shape, 1, 1)[:3]))


def _in_plane(affine: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    plane = np.delete(np.delete(affine, 2, 0), 2, 1)
    if np.allclose(affine[2, :2], 0, atol=1e-4):
        return plane, ()
    spacing = np.linalg.norm(affine[:3, :2], axis=0)
    note = (
        "this 2-D image does not lie in the x-y plane of the world; its own axes are taken as "
        "x and y, only its spacing is kept"
    )
    return np.diag([*spacing, 1.0]), (note,)

"""Writing images and label maps; a file is complete or not there."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from coincide.files import itk_image, mgh, nifti
from coincide.files.accept import as_image
from coincide.files.atomic import atomic, suffixes
from coincide.files.colour import as_colour
from coincide.files.lps import shear, unsheared
from coincide.files.nifti_write import write_nifti
from coincide.space.grid import Grid
from coincide.space.image import Image

NIFTI = (".nii", ".nii.gz")
MGH = (".mgh", ".mgz")
ITK = (".nrrd", ".mha", ".mhd")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg")
JPEG = (".jpg", ".jpeg")
EIGHT, PHOTO = (np.dtype(np.uint8),), (np.dtype(np.uint8), np.dtype(np.uint16))
TIFF = (*PHOTO, np.dtype(np.int16), np.dtype(np.float32))
# number types that formats can hold, where they cannot hold all
HELD = {
    **dict.fromkeys((".png",), PHOTO),
    **dict.fromkeys(JPEG, EIGHT),
    **dict.fromkeys((".tif", ".tiff"), TIFF),
    **dict.fromkeys(MGH, tuple(mgh.CODES)),
}
WHOLE = tuple(np.dtype(kind) for kind in (np.uint8, np.int16, np.int32, np.int64))


def write_image(
    image: Any, path: str | Path, *, dtype: np.dtype | type | None = None
) -> tuple[str, ...]:
    """Write one image; the suffix says the format.

    Formats: `.nii`, `.nii.gz` (NIfTI-2 where an axis exceeds 32767 voxels), `.mgh`, `.mgz`,
    `.nrrd`, `.mha`, `.mhd`; `.png`, `.tif` and `.jpg` for 2-D, also in colour. The header is read
    back before the file takes its name. ITK's formats cannot hold a sheared affine: the nearest
    rotation is written and the returned notes say by how many mm voxels moved.

    Args:
        image: (1, C, *S); several channels are frames in NIfTI and MGH, numbers of one voxel in
            NRRD and MetaImage, colours in pictures: 3, in PNG also 4. Or anything else that
            `register` takes, of which integers stay integers.
        path: Where to.
        dtype: Number type. Intensities are rounded and clipped to it, never wrapped. None: float32
            for intensities, the smallest integer that holds them for labels, 8 bits for PNG.

    Returns:
        Notes about what the format could not hold, one sentence each.

    Raises:
        ValueError: if the suffix is not known or the format cannot hold the image; if a label does
            not fit `dtype`, naming it and a type that would do.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    if not isinstance(image, Image):
        image = _accepted(image)
    if len(image.data) != 1:
        raise ValueError(
            f"a file holds one image, this batch holds {len(image.data)}; write them one by one"
        )
    suffix, several = suffixes(path).lower(), image.data.shape[1] > 1
    _check(suffix, path, image.grid, image.data.shape[1] if several else 0)
    whole = not image.data.is_floating_point()
    array, notes = cast(_array(image), dtype, suffix, whole=whole)
    kind = ("colour" if suffix in PICTURES else "frames") if several else ""
    return (*notes, *write_voxels(array, image.grid, path, channels=kind))


def write_voxels(
    array: np.ndarray,
    grid: Grid,
    path: str | Path,
    *,
    channels: str = "",
    interval: float = 0.0,
    intent: int = 1007,
) -> tuple[str, ...]:
    """Write voxels in the number type that they have; see `write_image`.

    Args:
        array: (*S), or (*S, C).
        grid: Where they lie.
        path: Where to.
        channels: What the last axis counts: `colour`, `frames`, `vectors`, or nothing.
        interval: Time between frames, s; 0: unknown.
        intent: NIfTI's code for what vectors are.
    """
    path = Path(path)
    suffix, notes = suffixes(path).lower(), ()
    _check(suffix, path, grid, array.shape[-1] if channels else 0)
    if array.dtype.kind == "c":
        raise ValueError(
            "the voxels are complex numbers; save their magnitude, for instance numpy.abs, first"
        )
    native = np.uint8 if array.dtype.kind == "b" else array.dtype.newbyteorder("=")
    array = array.astype(native, copy=False)
    if suffix in HELD and array.dtype not in HELD[suffix]:
        array, notes = cast(array, None, suffix, whole=array.dtype.kind in "iu")
    with atomic(path) as temporary:
        if suffix in NIFTI:
            if channels == "colour" and array.dtype == np.uint8:
                array = as_colour(array)
            elif channels == "vectors":  # the fourth axis is that of time
                array = array.reshape(*grid.shape, *(1,) * (4 - grid.dim), array.shape[-1])
            write_nifti(
                temporary,
                array,
                grid,
                packed=suffix == ".nii.gz",
                interval=interval,
                intent=intent if channels == "vectors" else 0,
            )
            _verify(*nifti.stored_header(temporary), grid, path)
        elif suffix in MGH:
            block = mgh.encode_mgh(array, grid)
            _verify(*mgh.stored_header(block), grid, path)
            temporary.write_bytes(mgh.squeezed(block) if suffix == ".mgz" else block)
        else:
            if suffix in ITK and shear(grid.affine) > 0.01:
                grid, moved = unsheared(grid)
                notes = (
                    *notes,
                    f"{suffix} cannot hold the shear of this affine; its nearest rotation is "
                    f"written, which moves voxels by up to {moved:.3g} mm; .nii.gz would keep it",
                )
            if suffix in ITK and channels == "frames":
                notes = (*notes, f"frames are written to {suffix} as numbers of one voxel")
            if suffix in JPEG:
                notes = (*notes, "JPEG loses detail; .png and .tif keep every value")
            itk_image.write_itk(array, grid, temporary, packed=suffix not in PICTURES)
            if suffix in ITK:
                _verify(*itk_image.stored_header(temporary), grid, path)
            if suffix == ".mhd":
                _rename_voxels(temporary, path)
    return notes


def _accepted(value: Any) -> Image:
    """An image of any form, its integers exact."""
    source = as_image(value)
    return as_image(value, whole=True).image if source.dtype.kind in "iub" else source.image


def cast(
    array: np.ndarray, dtype: np.dtype | type | None, suffix: str, *, whole: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The voxels in the type to be stored, and notes about what that changed.

    Args:
        array: Voxels.
        dtype: Wanted type or None.
        suffix: Of the file, which may allow few types.
        whole: Whether these are labels, which must stay exact.

    Raises:
        ValueError: if a label does not fit.
    """
    if whole:
        smallest = next(kind for kind in _allowed(suffix) if _fits(array, kind) is None)
        wanted = smallest if dtype is None else np.dtype(dtype)
        value = _fits(array, wanted)
        if value is not None:
            raise ValueError(f"label {value} does not fit {wanted}; {smallest} would hold it")
        return array.astype(wanted), ()
    picture = suffix in (".png", *JPEG)
    wanted = np.dtype(dtype or (np.uint8 if picture else np.float32))
    if wanted.kind not in "iu":
        return array.astype(wanted, copy=False), ()
    limits = np.iinfo(wanted)
    outside = int(((array < limits.min) | (array > limits.max)).sum())
    # float32 holds every number of 16 bits, float64 every number of 32; 64 bits are brought inside
    exact = np.rint(np.nan_to_num(array.astype(np.float32 if wanted.itemsize < 4 else np.float64)))
    high = np.nextafter(float(limits.max), 0) if limits.max >= 2**53 else float(limits.max)
    result = np.clip(exact, float(limits.min), high, out=exact).astype(wanted)
    if not outside:
        return result, ()
    return result, (
        f"{outside} voxels lay outside {limits.min} to {limits.max} and were clipped to {wanted}",
    )


def _fits(array: np.ndarray, kind: np.dtype) -> int | None:
    """The first extreme value that `kind` cannot hold exactly, or None."""
    for value in (int(array.min()), int(array.max())) if array.size else ():
        if kind.kind in "iu":
            if not np.iinfo(kind).min <= value <= np.iinfo(kind).max:
                return value
        elif int(kind.type(value)) != value or abs(value) > 2 ** np.finfo(kind).nmant:
            return value
    return None


def _allowed(suffix: str) -> tuple[np.dtype, ...]:
    if suffix == ".png":
        return tuple(np.dtype(kind) for kind in (np.uint8, np.uint16, np.int64))
    if suffix in JPEG:
        return (np.dtype(np.uint8), np.dtype(np.int64))
    return WHOLE


def _array(image: Image) -> np.ndarray:
    data = image.data[0].detach().cpu().numpy()
    return data[0] if len(data) == 1 else np.moveaxis(data, 0, -1)


def _check(suffix: str, path: Path, grid: Grid, channels: int) -> None:
    known = NIFTI + MGH + ITK + PICTURES
    if suffix not in known:
        raise ValueError(f"cannot tell the format of {path.name}; known: {', '.join(known)}")
    if suffix in PICTURES and grid.dim != 2:
        raise ValueError(f"{suffix} holds 2-D images, not {grid.dim}-D; use .nii.gz")
    # other programs take the opacity of ITK's TIFF files as already multiplied into the colours
    most = (0, 1, 3, 4) if suffix == ".png" else (0, 1, 3)
    if suffix in PICTURES and channels not in most:
        raise ValueError(
            f"{suffix} is written with 1 or 3 channels, not {channels}; use "
            f"{'.png' if channels == 4 else '.nii.gz'}"
        )


def _verify(shape: tuple[int, ...], affine: np.ndarray, grid: Grid, path: Path) -> None:
    dim = grid.dim
    keep = [*range(dim), len(affine) - 1]
    got = affine[np.ix_(keep, keep)]
    size = np.abs(grid.affine).max()
    if tuple(shape[:dim]) != grid.shape or not np.allclose(got, grid.affine, atol=1e-5 * size):
        raise OSError(
            f"{path} was not written as meant: shape {shape} and affine {got.tolist()} came back; "
            "check the disk, or write .nii.gz"
        )


def _rename_voxels(temporary: Path, path: Path) -> None:
    """Give the second file of a .mhd pair its name too."""
    text = temporary.read_text("utf-8")
    found = re.search(r"ElementDataFile = (\S+)", text)
    if found is None:
        raise OSError(f"{path} was not written as meant: it names no file of voxels")
    voxels = temporary.with_name(found[1])
    final = path.with_suffix(voxels.suffix)
    voxels.replace(final)
    temporary.write_text(text.replace(found[1], final.name), "utf-8")

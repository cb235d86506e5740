"""DICOM: one series of slices in a folder, or one file, as one volume."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from coincide.files.contents import Contents
from coincide.files.dicom_enhanced import frame_pixels, frames_of, is_enhanced
from coincide.files.dicom_mosaic import read_mosaic
from coincide.files.dicom_series import series_files
from coincide.files.dicom_slice import Slice, pixels
from coincide.files.dicom_volumes import Volume, listing, names, separate, volumes_of
from coincide.files.itk_image import from_sitk
from coincide.files.lps import affine_of
from coincide.files.stored import Keep, Stored

TOLERANCE = 0.01


def is_dicom(found: Contents) -> bool:
    """Whether a file is DICOM."""
    return found.kind == "dicom"


def read_series(
    path: str | Path,
    *,
    series: str | None = None,
    frame: int | None = None,
    keep: Keep = "one",
) -> Stored:
    """Read the slices of one volume, sorted along their normal, rescaled to true intensities.

    Mosaics of Siemens' are taken apart, and the frames of enhanced DICOM put where they belong.

    Args:
        path: Folder, also of folders; one file with all frames, or any file of a series, whose
            others lie beside it.
        series: Series instance UID, needed where the folder holds several.
        frame: Which volume of a series that has several, such as time points or echoes, from 0.
        keep: `all` volumes, as frames, or `one`.

    Raises:
        ValueError: for mixed series, missing, doubled or uneven slices, slices that differ in
            size or direction, several volumes of which none is chosen; naming them and saying what
            would work.
    """
    path = Path(path)
    files, notes = series_files(path, series)
    found = _volumes(files)
    if frame is None and len(found) > 1 and path.is_file() and len(files) > 1:
        # the file stands for the volume that it is a slice of
        frame = next(n for n, v in enumerate(found) if path in [one.path for one in v.slices])
        notes = (*notes, f"of {len(found)} volumes the one with {path.name} is read, {frame}")
    if frame is None and len(found) > 1 and keep != "all":
        raise ValueError(
            f"{path} holds {len(found)} volumes: {listing(found)}; choose one of 0 to "
            f"{len(found) - 1} with frame=N (--frame N)"
        )
    if not 0 <= (frame or 0) < len(found):
        raise ValueError(
            f"{path} has volumes 0 to {len(found) - 1}; volume {frame} is not there"
            if len(found) > 1
            else f"{path} has one volume, number 0; volume {frame} does not exist"
        )
    if frame is None and len(found) > 1:
        return _all(found, path).warned(*notes)
    return _one(found, frame or 0, keep).warned(*notes)


def volumes(path: str | Path, *, series: str | None = None) -> list[Volume]:
    """The volumes of one series, in the order in which they were taken; `frame` counts them.

    Args:
        path: As for `read_series`.
        series: Series instance UID, needed where the folder holds several.

    Raises:
        ValueError: as `read_series`.
    """
    return _volumes(series_files(Path(path), series)[0])


def _volumes(files: list[Slice]) -> list[Volume]:
    if len(files) == 1 and not is_enhanced(files[0]):
        return [Volume((files[0],))]
    slices = [one for file in files for one in (frames_of(file) if is_enhanced(file) else [file])]
    _alike(slices)
    if slices[0].mosaic:
        return separate(slices)
    return volumes_of(slices)


def _one(found: list[Volume], frame: int, keep: Keep) -> Stored:
    slices = found[frame].slices
    first = slices[0]
    if first.mosaic:
        return read_mosaic(first)
    plain = first.placed and first.samples == 1 and first.shape[2:] in ((), (1,))
    if len(slices) == 1 and not plain:
        return _single(first.path, keep)
    stored, most = _stacked(slices), max(len(volume.slices) for volume in found)
    if len(slices) == most:
        return stored
    note = f"volume {frame} has {len(slices)} slices, others of the series have {most}"
    return stored.warned(f"{note}: some may be missing")


def _all(found: list[Volume], path: Path) -> Stored:
    """Every volume of a series as a frame."""
    each = [_one(found, frame, "one") for frame in range(len(found))]
    first = each[0]
    for n, one in enumerate(each):
        if one.array.shape != first.array.shape or not np.allclose(
            one.affine, first.affine, atol=1e-3
        ):
            raise ValueError(
                f"volumes 0 and {n} of {path} lie on different grids; choose one of 0 to "
                f"{len(found) - 1} with frame=N (--frame N)"
            )
    array = np.stack([one.array for one in each], -1)
    return replace(first, array=array, channels="frames")


def _alike(slices: Sequence[Slice]) -> None:
    lost = [s.name for s in slices if not s.placed]
    if lost:
        raise ValueError(
            f"{len(lost)} slices do not say where they lie ({names(lost)}); remove them, or "
            "convert the series with dcm2niix"
        )
    several = [s.name for s in slices if len(s.shape) > 2 and s.shape[2] > 1]
    if several:
        raise ValueError(
            f"{len(several)} files hold several frames each ({names(several)}); give one of them"
        )
    colour = [s.name for s in slices if s.samples > 1]
    if colour:
        raise ValueError(
            f"{len(colour)} slices are colour pictures ({names(colour)}); give the series of the "
            "intensities they were made from"
        )
    first = slices[0]
    odd = [
        s.name
        for s in slices
        if s.shape != first.shape
        or s.mosaic != first.mosaic
        or not np.allclose(s.orientation, first.orientation, atol=1e-3)
        or not np.allclose(s.spacing, first.spacing, rtol=1e-3)
    ]
    if odd:
        raise ValueError(
            f"{len(odd)} of {len(slices)} slices differ in size, spacing or direction from "
            f"{first.name}: {names(odd)} (a localiser?); move them to another folder"
        )


def _stacked(slices: Sequence[Slice]) -> Stored:
    """The slices of one volume, one on top of the other."""
    first, notes = slices[0], []
    if len(slices) == 1:
        step = next((s for s in (first.between, first.thickness) if s > 0), 1.0)
        across = step * first.normal
        notes.append(
            f"one DICOM slice, taken as {step:g} mm thick; give the folder to read a whole series"
        )
    else:
        step = _even(slices)
        # from positions: the stored thickness knows nothing of gaps and overlaps
        across = (slices[-1].position - first.position) / (len(slices) - 1)
    direction = np.stack([first.orientation[:3], first.orientation[3:], across / step], 1)
    affine = affine_of(np.array([*first.spacing, step]), direction, first.position)
    # rounding may leave [-1, 1], where arccos is not a number
    tilt = float(np.degrees(np.arccos(np.clip(across @ first.normal / step, -1, 1))))
    if tilt > 0.1:
        notes.append(f"the slices are sheared by {tilt:.2f} degrees (gantry tilt); kept as it is")
    return Stored(_voxels(slices), affine, warnings=tuple(notes))


def _voxels(slices: Sequence[Slice]) -> np.ndarray:
    # an enhanced file is decoded once for all of its frames
    whole = {one.path: frame_pixels(one.path) for one in slices if one.number is not None}
    planes = [
        pixels(one.path)
        if one.number is None
        else _scaled(whole[one.path][one.number].T, one.scale)
        for one in slices
    ]
    return np.stack(planes, -1)


def _scaled(plane: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    return plane if scale == (1.0, 0.0) else plane * scale[0] + scale[1]


def _even(slices: Sequence[Slice]) -> float:
    """Distance between neighbouring slices, mm, measured along the line through their corners."""
    heights = np.array([one.height for one in slices])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    wide = np.flatnonzero(np.abs(gaps - usual) > max(TOLERANCE * usual, 0.01))
    if len(wide):
        where = [
            f"{slices[i].name} to {slices[i + 1].name}: {gaps[i]:.3g} mm" for i in wide.tolist()
        ]
        raise ValueError(
            f"the slices are not evenly spaced: usually {usual:.3g} mm, but {names(where)}; add "
            "the missing slices, or resample the series with dcm2niix"
        )
    # along the line, which is longer than along the normal where the gantry is tilted
    return float(np.linalg.norm(slices[-1].position - slices[0].position) / (len(slices) - 1))


def _single(path: Path, keep: Keep) -> Stored:
    image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
    stored = from_sitk(image, path=path, keep=keep)
    frames = stored.grid.shape[-1] if stored.grid.dim == 3 else 1
    if frames == 1:
        return stored.warned("one DICOM slice; give the folder to read the whole series")
    return stored.warned(f"{frames} frames of one DICOM file are taken as evenly spaced slices")

"""coincide convert."""

from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from coincide.destination import grid_of
from coincide.files.flirt import is_flirt, read_flirt
from coincide.files.itk import read_transform, write_transform
from coincide.files.read import value_type
from coincide.files.stored import Stored, refuse_nothing
from coincide.files.stored import labels as as_labels
from coincide.files.write import write_image, write_voxels
from coincide.transforms.transform import Transform
from coincide.warp import source_of

TRANSFORMS = (".h5", ".tfm", ".txt", ".mat", ".hdf5")


def convert(
    source: Positional[Path],
    target: Positional[Path],
    on: Annotated[Path | None, arg(metavar="FIXED")] = None,
    moving: Path | None = None,
    labels: bool = False,
    displacement: bool = False,
    frame: int = -1,
    series: Annotated[str | None, arg(metavar="UID")] = None,
) -> None:
    """Write an image or a transform in another format; the suffix of TARGET says which.

    Images: .nii .nii.gz .mgh .mgz .nrrd .mha .mhd .png .tif .jpg, with all frames and colours that
    the format can hold. Transforms: .h5 (any), .tfm .txt .mat (linear), .nii.gz with --displacement
    (a displacement field on the grid of --on).

        coincide convert scan_folder scan.nii.gz
        coincide convert run/transform.h5 warp.nii.gz --displacement --on t1.nii.gz
        coincide convert flirt.mat affine.tfm --on ref.nii.gz --moving in.nii.gz

    Args:
        source: Image, DICOM folder, or transform.
        target: File to write.
        on: Image whose grid a displacement field gets; what FSL's FLIRT had as -ref.
        moving: What FSL's FLIRT had as -in.
        labels: Keep whole numbers exactly.
        displacement: Read the source as a transform and write it as a displacement field.
        frame: Which volume of a 4-D file, or which transform of a file with several, from 0. -1:
            all volumes, or the only transform.
        series: UID of the DICOM series, where a folder holds several.
    """
    number = None if frame < 0 else frame
    if displacement or source.suffix.lower() in TRANSFORMS:
        grid = None if on is None else grid_of(on)
        write_transform(_transform(source, number, on, moving), target, grid=grid)
    else:
        found = source_of(source, frame=number, series=series)
        refuse_nothing(found)
        for note in (*found.warnings, *_image(found, target, labels=labels)):
            print(f"note: {note}")
    print(f"wrote {target}")


def _transform(source: Path, frame: int | None, on: Path | None, moving: Path | None) -> Transform:
    if on is not None and moving is not None and source.exists() and is_flirt(source):
        return read_flirt(source, grid_of(on), grid_of(moving))
    return read_transform(source, frame=frame)


def _image(found: Stored, target: Path, *, labels: bool) -> tuple[str, ...]:
    if labels:
        whole = found.array.dtype.kind in "iu" and value_type(found) == found.array.dtype
        return write_image(as_labels(found)[0], target, dtype=found.array.dtype if whole else None)
    array = found.array
    if value_type(found) != array.dtype:
        array = (array * found.slope + found.intercept).astype(np.float32)
    return write_voxels(
        array,
        found.grid,
        target,
        channels=found.channels,
        interval=found.interval,
        intent=found.intent,
    )

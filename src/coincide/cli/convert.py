"""coincide convert."""

from pathlib import Path

from tyro.conf import Positional

from coincide.files.accept import as_image
from coincide.files.itk import read_transform, write_transform
from coincide.files.read import load
from coincide.files.write import write_image

TRANSFORMS = (".h5", ".tfm", ".txt", ".mat", ".hdf5")


def convert(
    source: Positional[Path],
    target: Positional[Path],
    on: Path | None = None,
    labels: bool = False,
    displacement: bool = False,
    frame: int = -1,
) -> None:
    """Write an image or a transform in another format; the suffix of TARGET says which.

    Images: .nii .nii.gz .mgh .mgz .nrrd .mha .mhd .png .tif. Transforms: .h5 (any), .tfm .txt .mat
    (linear), .nii.gz with --displacement (a displacement field on the grid of --on).

        coincide convert scan_folder scan.nii.gz
        coincide convert run/transform.h5 warp.nii.gz --displacement --on t1.nii.gz

    Args:
        source: Image, DICOM folder, or transform.
        target: File to write.
        on: Image whose grid a displacement field gets.
        labels: Keep whole numbers exactly.
        displacement: Read the source as a transform and write it as a displacement field.
        frame: Which volume of a 4-D file, or which transform of a file with several, from 0.
    """
    number = None if frame < 0 else frame
    if displacement or source.suffix.lower() in TRANSFORMS:
        grid = None if on is None else load(on).image.grid
        write_transform(read_transform(source, frame=number), target, grid=grid)
    else:
        found = as_image(source, frame=number, whole=labels)
        dtype = found.dtype if found.dtype.kind in "iu" else None
        for note in (*found.warnings, *write_image(found.image, target, dtype=dtype)):
            print(f"note: {note}")
    print(f"wrote {target}")

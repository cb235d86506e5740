"""coincide warp."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from coincide.alignment import pulled
from coincide.files.accept import as_image
from coincide.files.itk import read_transform
from coincide.files.points import read_points, write_points
from coincide.files.read import load, read_labels
from coincide.files.write import write_image

POINTS = (".csv", ".fcsv", ".json")


def warp(
    image: Positional[Path],
    transform: Positional[Path],
    out: Path,
    on: Annotated[Path | None, arg(metavar="FIXED")] = None,
    interpolation: Literal["linear", "nearest", "cubic", "label"] = "linear",
    frame: int = -1,
) -> None:
    """Apply a transform to an image, a label map, or points.

    An image goes from the moving world onto the grid of FIXED. Points are sent the way the
    transform maps them: transform.h5 takes points of the fixed image to the moving one, inverse.h5
    takes points of the moving image to the fixed one.

        coincide warp t2.nii.gz run/transform.h5 --on t1.nii.gz --out t2_on_t1.nii.gz
        coincide warp labels.nii.gz run/transform.h5 --on t1.nii.gz --interpolation label \
            --out labels_on_t1.nii.gz
        coincide warp landmarks_in_moving.csv run/inverse.h5 --out landmarks_in_fixed.csv

    Args:
        image: Image, label map, or points (.csv, .fcsv, .mrk.json).
        transform: A file written by register, ITK, ANTs or 3D Slicer.
        out: File to write.
        on: Image whose grid the result gets; needed for images.
        interpolation: linear or cubic for intensities; nearest or label for label maps (label: the
            label with most weight among the neighbours).
        frame: Which volume of a 4-D file, from 0.
    """
    mapping = read_transform(transform).requires_grad_(False)
    if image.suffix.lower() in POINTS:
        import torch

        points = torch.as_tensor(read_points(image))[None]
        write_points(mapping(points)[0].numpy(), out)
        print(f"wrote {points.shape[1]} points to {out}")
        return
    if on is None:
        raise ValueError("to warp an image give the one whose grid it should get: --on FIXED")
    grid = load(on).image.grid
    number = None if frame < 0 else frame
    if interpolation in ("nearest", "label"):
        warped = pulled(
            read_labels(image, frame=number), mapping, grid, interpolation=interpolation
        )
        dtype = None
    else:
        source = as_image(image, frame=number)
        warped = pulled(source.image, mapping, grid, interpolation=interpolation)
        dtype = source.dtype if source.dtype.kind in "iu" else None
    write_image(warped, out, dtype=dtype)
    print(f"wrote {out}")

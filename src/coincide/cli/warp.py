"""coincide warp."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from coincide.destination import grid_of
from coincide.files.point_world import worldless
from coincide.files.points import SUFFIXES, load_points, write_moved
from coincide.files.write import write_voxels
from coincide.route import steps
from coincide.warp import How, moved, source_of, warped


@dataclass(frozen=True)
class WarpOptions:
    """What is warped, by what, onto what.

    Args:
        image: Image (2-D, 3-D, or 4-D: every frame; colours and vectors with all their channels),
            label map, DICOM folder, or points (.csv .tsv .txt .fcsv .mrk.json .pts).
        transforms: Files of register, ITK, ANTs, 3D Slicer, or a matrix of FSL's FLIRT; listed from
            FIXED to the moving image, as for antsApplyTransforms. A name after "inverse:" is turned
            round. None: the image is only resampled.
        out: File to write.
        on: Image whose grid the result gets, a grid file (.json with shape and affine), or a
            voxel size in mm, as --spacing. For points: the image that they go to.
        spacing: Voxel size in mm, one number or one for each axis: of the result on the place of
            FIXED; without --on, on the box that the image takes up after the transforms.
        inverse: Numbers of the transforms to be turned round, counted from 1.
        interpolation: auto takes label for label maps and linear for others. A label map holds
            whole numbers: at most 32 different ones, or at most 512 where most neighbours have
            the same; linear overrules. cubic for intensities; nearest; label takes the label with
            most weight among the neighbours.
        outside: Value where the image does not reach. None: its lowest value if that is below -500,
            as in CT; otherwise 0.
        frame: Which volume of a 4-D file, from 0. -1: all.
        series: UID of the DICOM series, where a folder holds several.
        world: What the numbers of a table of points are: ras or lps, in mm, or pixel, which counts
            voxels from 0; ANTs writes lps. auto: what the file says, pixel for pictures, else ras.
        of: Image that the points were marked in; needed for pixels.
    """

    image: Annotated[Positional[Path], arg(metavar="IMAGE")]
    transforms: Annotated[Positional[tuple[str, ...]], arg(metavar="TRANSFORM ...")] = ()
    out: Annotated[Path | None, arg(metavar="FILE")] = None
    on: Annotated[str | None, arg(metavar="FIXED")] = None
    spacing: Annotated[tuple[float, ...], arg(metavar="MM")] = ()
    inverse: Annotated[tuple[int, ...], arg(metavar="N")] = ()
    interpolation: How = "auto"
    outside: Annotated[float | None, arg(metavar="VALUE")] = None
    frame: int = -1
    series: Annotated[str | None, arg(metavar="UID")] = None
    world: str = "auto"
    of: Annotated[Path | None, arg(metavar="IMAGE")] = None


def warp(options: Annotated[WarpOptions, arg(name="")]) -> None:
    """Apply transforms to an image, a label map, or points.

    An image goes from the moving world onto the grid of FIXED, interpolated once, however many
    transforms there are. They are listed from FIXED to the moving image: a point of FIXED goes
    through the first, then the second, and so on; of the moving image the last one acts first.
    Points are sent the same way: transform.h5 takes points of the fixed image to the moving one,
    inverse.h5 takes points of the moving image to the fixed one. They are written as they were
    read, with every name and column.

        coincide warp t2.nii.gz run/transform.h5 --on t1.nii.gz --out t2_on_t1.nii.gz
        coincide warp labels.nii.gz run/transform.h5 --on t1.nii.gz --out labels_on_t1.nii.gz
        coincide warp atlas.nii.gz 1Warp.nii.gz 0GenericAffine.mat --on t1.nii.gz --out a.nii.gz
        coincide warp t1.nii.gz inverse:0Affine.mat 1InverseWarp.nii.gz --on a.nii.gz --out b.nii.gz
        coincide warp in_moving.mrk.json run/inverse.h5 --out in_fixed.mrk.json

    Args:
        options: What is warped, by what, onto what.
    """
    if options.out is None:
        raise ValueError("no out given; write: coincide warp IMAGE TRANSFORM --on FIXED --out FILE")
    if options.image.suffix.lower() in SUFFIXES:
        said, notes = _points(options, options.out)
    else:
        said, notes = _image(options, options.out)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(said)


def _image(options: WarpOptions, out: Path) -> tuple[str, tuple[str, ...]]:
    frame = None if options.frame < 0 else options.frame
    found = warped(
        source_of(options.image, frame=frame, series=options.series),
        steps(options.transforms, options.inverse),
        on=_number(options.on),
        spacing=options.spacing or None,
        interpolation=options.interpolation,
        outside=options.outside,
    )
    more = write_voxels(
        found.array,
        found.grid,
        out,
        channels=found.channels,
        interval=found.interval,
        intent=found.intent,
    )
    return f"wrote {out}", (*found.notes, *more)


def _points(options: WarpOptions, out: Path) -> tuple[str, tuple[str, ...]]:
    given = {
        "--spacing": bool(options.spacing),
        "--outside": options.outside is not None,
        "--interpolation": options.interpolation != "auto",
    }
    if any(given.values()):
        wrong = " and ".join(name for name, there in given.items() if there)
        raise ValueError(f"{options.image} holds points; {wrong} is for images")
    end = None if options.on is None else grid_of(options.on)
    start = None if options.of is None else grid_of(options.of)
    # pixels of pictures lie at the same place in each, whatever its size
    if start is None and end is not None and worldless(end):
        start = end
    if end is None and start is not None and worldless(start):
        end = start
    found = load_points(options.image, world=options.world, image=start)
    route = steps(options.transforms, options.inverse)
    points = moved(found.points, route, (start, end))
    world, notes = write_moved(found, points, out, grid=end)
    unit = "pixels" if world == "pixel" else f"{world.upper()} mm"
    return f"wrote {len(points)} points ({unit}) to {out}", (*found.warnings, *notes)


def _number(text: str | None) -> str | float | None:
    """A voxel size where the text is a number and no file has that name."""
    if text is None or Path(text).exists():
        return text
    try:
        return float(text)
    except ValueError:
        return text

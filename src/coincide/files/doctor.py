"""Doctor: what is odd about an image file, and what each way to treat it would mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.orientations import aff2axcodes

from coincide.files.contents import contents
from coincide.files.dicom import volumes
from coincide.files.dicom_series import Series, series_in
from coincide.files.geometry import NAMES, Geometry, geometry
from coincide.files.lps import apart, shear, unsheared
from coincide.files.nifti import parse
from coincide.files.read import stored
from coincide.files.stored import Stored, intensities, refuse_nothing
from coincide.space.grid import Grid
from coincide.space.image import Image


@dataclass(frozen=True)
class Finding:
    """One thing noticed about a file.

    Args:
        what: What was found.
        effect: What it means, in mm where it moves anything.
        choice: What is done, and how to choose otherwise; empty where there is nothing to choose.
        failed: Whether no image could be read.
    """

    what: str
    effect: str = ""
    choice: str = ""
    failed: bool = False

    def __str__(self) -> str:
        return "\n    ".join(part for part in (self.what, self.effect, self.choice) if part)


def inspect(path: str | Path, *, series: str | None = None) -> tuple[Finding, ...]:
    """Examine an image file; a file that cannot be read is a finding, not an error.

    Args:
        path: File, or folder of DICOM slices, or of such folders.
        series: UID of the DICOM series, where a folder holds several.

    Returns:
        Findings: first what it is, then where its voxels are, then what they hold. Of a folder
        with several DICOM series of which none is chosen, what they are.
    """
    path = Path(path)
    try:
        if path.is_dir() and series is None:
            several, _ = series_in(path)
            if len(several) > 1:
                return _listed(path, several)
        found = None if path.is_dir() else contents(path)
        header = parse(found.data) if found and found.kind == "nifti" else None
        dicom = found is None or found.kind == "dicom"
        several = volumes(path, series=series) if dicom else []
        frames = len(several) or _frames(header)
        source = stored(path, frame=0 if frames > 1 else None, series=series)
        refuse_nothing(source)
        image, warnings = intensities(source)
    except (ValueError, OSError) as error:
        return (Finding(f"{path} cannot be read", str(error), failed=True),)
    what = "a DICOM series" if found is None else found.kind
    packed = ", gzip-compressed" if found and found.packed else ""
    findings = [Finding(f"{path}: {what}{packed}, {source.array.dtype}")]
    if frames > 1:
        what = "volumes" if several else "frames"
        findings.append(
            Finding(f"{frames} {what}", "the first is examined here", "choose one with --frame N")
        )
        findings.extend(Finding(f"volume {n}: {v.label}") for n, v in enumerate(several))
    findings.extend(_place(image.grid))
    if header is not None:
        findings.extend(_header(geometry(header)))
    findings.extend(_voxels(image, source))
    said = " ".join(str(finding) for finding in findings)
    findings.extend(Finding(note) for note in warnings if _new(note, said))
    return tuple(findings)


def _listed(path: Path, several: list[Series]) -> tuple[Finding, ...]:
    first = Finding(
        f"{path}: {len(several)} DICOM series", choice="choose one with --series UID (series=UID)"
    )
    return first, *(Finding(f"series {one}") for one in several)


def report(findings: tuple[Finding, ...]) -> str:
    """The findings as text, one paragraph each."""
    return "\n".join(str(finding) for finding in findings)


def _frames(header) -> int:
    if header is None:
        return 1
    shape = tuple(int(n) for n in header.get_data_shape())
    return int(np.prod(shape[3:])) if len(shape) > 3 else 1


def _place(grid: Grid) -> Iterator[Finding]:
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    shape = " x ".join(str(n) for n in grid.shape)
    extent = " x ".join(f"{e:.4g}" for e in grid.extent)
    yield Finding(f"{shape} voxels of {spacing} mm", f"covers {extent} mm")
    centre = ", ".join(f"{c:.1f}" for c in grid.centre)
    if grid.dim == 3:
        code = "".join(str(letter) for letter in aff2axcodes(grid.affine))
        hand = "right" if np.linalg.det(grid.direction) > 0 else "left"
        yield Finding(f"orientation {code}, {hand}-handed", f"its middle is at ({centre}) mm RAS")
    tilt = np.degrees(np.arccos(np.clip(np.abs(grid.direction).max(0), 0, 1))).max()
    if tilt > 0.01:
        aligned = grid.affine.copy()
        near = np.abs(grid.direction) == np.abs(grid.direction).max(0)
        aligned[:-1, :-1] = np.sign(grid.direction) * near * grid.spacing
        aligned[:-1, -1] += grid.centre - Grid(grid.shape, aligned).centre
        moved = apart(grid.affine, aligned, grid.shape)
        yield Finding(
            f"oblique by {tilt:.2f} degrees",
            f"a tool that ignores this misplaces voxels by up to {moved:.3g} mm",
            "the full affine is used",
        )
    if shear(grid.affine) > 0.01:
        _, moved = unsheared(grid)
        yield Finding(
            f"sheared by {shear(grid.affine):.2f} degrees (gantry tilt?)",
            f"the nearest rotation would move voxels by up to {moved:.3g} mm",
            "the shear is kept; .nrrd and .mha cannot hold it, .nii.gz can",
        )
    thick = grid.spacing.max() / grid.spacing.min()
    if thick > 3:
        yield Finding(
            f"slices {thick:.1f} times as thick as the voxels are fine",
            "displacements across the slices are known less well",
        )


def _header(found: Geometry) -> Iterator[Finding]:
    s, q = found.codes
    if found.sform is not None and found.qform is not None:
        effect = f"they differ by {found.apart:.3g} mm at the far corner"
        other = "qform" if found.rule == "sform" else "sform"
        choice = f"the {found.rule} is used; say use={other!r} for the other"
        yield Finding(
            f"sform code {s}, qform code {q}",
            effect if found.apart >= 1e-3 else "they agree",
            choice if found.noticeable else "",
        )
    else:
        yield Finding(f"sform code {s}, qform code {q}", "", f"the {found.rule} is used")
    if found.unit != 2:
        yield Finding(
            f"lengths in {NAMES.get(found.unit, 'an unknown unit')}",
            "taken as mm" if found.unit not in (1, 3) else "converted to mm",
        )


def _voxels(image: Image, source: Stored) -> Iterator[Finding]:
    values = image.numpy()
    low, high = float(values.min()), float(values.max())
    some = values[tuple(slice(None, None, 2) for _ in values.shape)]
    dark, bright = np.percentile(some, [1, 99])
    content = 100 * float((some > dark + 0.1 * (bright - dark)).mean())
    yield Finding(
        f"values from {low:g} to {high:g}",
        f"{content:.1f} % of the voxels are brighter than a tenth of the range",
    )
    if low == high:
        yield Finding("every voxel has the same value", "there is nothing to register")
    if image.mask is not None:
        bad = int((image.mask == 0).sum())
        yield Finding(
            f"{bad} voxels are NaN or infinite ({100 * bad / image.mask.numel():.2g} %)",
            "they do not count",
            "they are set to 0 and masked out",
        )
    if source.array.dtype.kind in "iu" and source.slope == 1 and _few(source.array):
        yield Finding(
            "few different whole numbers", "this may be a label map", "read it with read_labels"
        )


def _few(array: np.ndarray) -> bool:
    sparse = array[tuple(slice(None, None, 3) for _ in array.shape)]
    return 1 < len(np.unique(sparse)) <= 64


def _new(note: str, said: str) -> bool:
    shared = ("NaN", "disagree", "stored in metres", "stored in micrometres")
    return note not in said and not any(word in note for word in shared)

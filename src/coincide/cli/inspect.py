"""coincide inspect."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from coincide.files import doctor
from coincide.record import RECORD, load


def inspect(
    images: Positional[tuple[Path, ...]],
    series: Annotated[str | None, arg(metavar="UID")] = None,
) -> None:
    """Say what is odd about image headers, and what each choice would mean in millimetres.

    Of a folder that `register` wrote: what was done. Of a folder with several DICOM series: what
    they are. Every image is looked at; the exit code is 1 if one of them cannot be read.

        coincide inspect fixed.nii.gz moving.nii.gz
        coincide inspect study --series 1.2.840.113619.2.5

    Args:
        images: Image files, DICOM folders, folders of such folders, or finished runs.
        series: UID of the DICOM series, where a folder holds several.
    """
    if not images:
        raise ValueError("no image given; write: coincide inspect IMAGE [IMAGE ...]")
    lost = []
    for path in images:
        print(path)
        if (path / RECORD).exists():
            print(f"    {load(path)!r}")
            continue
        findings = doctor.inspect(path, series=series)
        print(doctor.report(findings))
        if any(finding.failed for finding in findings):
            lost.append(str(path))
    if lost:
        raise ValueError(f"{len(lost)} of {len(images)} cannot be read: {', '.join(lost)}")

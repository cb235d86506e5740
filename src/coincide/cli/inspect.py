"""coincide inspect."""

import json
import textwrap
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from coincide.files import doctor
from coincide.networks.model_file import read_model
from coincide.record import RECORD, load


def inspect(
    images: Positional[tuple[Path, ...]],
    series: Annotated[str | None, arg(metavar="UID")] = None,
) -> None:
    """Say what is odd about image headers, and what each choice would mean in millimetres.

    Of a folder that `register` wrote: what was done. Of a model that `train` wrote: its card. Of a
    folder with several DICOM series: what they are. Every image is looked at; the exit code is 1 if
    one of them cannot be read.

        coincide inspect fixed.nii.gz moving.nii.gz
        coincide inspect study --series 1.2.840.113619.2.5
        coincide inspect mine.safetensors

    Args:
        images: Image files, DICOM folders, folders of such folders, finished runs, or models.
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
        if path.suffix == ".safetensors":
            print(textwrap.indent(json.dumps(read_model(path)[1], indent=2), "    "))
            continue
        findings = doctor.inspect(path, series=series)
        print(doctor.report(findings))
        if any(finding.failed for finding in findings):
            lost.append(str(path))
    if lost:
        raise ValueError(f"{len(lost)} of {len(images)} cannot be read: {', '.join(lost)}")

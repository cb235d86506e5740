"""coincide inspect."""

from pathlib import Path

from tyro.conf import Positional

from coincide.files import doctor


def inspect(images: Positional[tuple[Path, ...]]) -> None:
    """Say what is odd about image headers, and what each choice would mean in millimetres.

        coincide inspect fixed.nii.gz moving.nii.gz

    Args:
        images: Image files or DICOM folders.
    """
    for path in images:
        print(path)
        print(doctor.report(doctor.inspect(path)))

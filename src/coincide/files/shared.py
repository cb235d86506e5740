"""Shared: files of one network that holds many transforms, a series of images or a family of pairs.

They are small, as nothing is sampled: ITK finds no transform in them. A single one, `series.at(3)`
or `family.member(3)`, is written by `write_transform` like any other, with its field for ITK.
"""

from pathlib import Path
from typing import Any

import h5py

from coincide.files.atomic import atomic, suffixes
from coincide.files.itk_h5 import OURS, SHARED
from coincide.files.native import describe, described
from coincide.transforms.family import Family
from coincide.transforms.series import Series

KINDS = {"series": Series, "family": Family}


def write_shared(network: Series | Family, path: str | Path) -> None:
    """Write a series or a family to an `.h5` file, all weights to the bit.

    Args:
        network: What was fitted.
        path: Where to.

    Raises:
        ValueError: if the file is not called `.h5`.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> from coincide.transforms.series import Series
        >>> series = Series(image.grid, (0.0, 1.0), 0.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_shared(series, Path(folder, "breathing.h5"))
        ...     again = read_shared(Path(folder, "breathing.h5"))
        >>> bool((again.at(0.5)(points) == series.at(0.5)(points)).all())
        True
    """
    if suffixes(Path(path)).lower() != ".h5":
        raise ValueError(f"a series or a family is written to a file .h5, not {Path(path).name}")
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        ours = file.create_group(OURS)
        ours.attrs["version"] = 2
        group = ours.create_group(SHARED)
        group.attrs["kind"] = network.name
        describe(network, group)


def read_shared(path: str | Path) -> Series | Family:
    """Read a series or a family.

    Args:
        path: Of a file that `write_shared` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds something else, or one of a later version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with h5py.File(path, "r") as file:
            group: Any = file.get(f"{OURS}/{SHARED}")
            kind = KINDS.get(str(group.attrs["kind"])) if group is not None else None
            if kind is None:
                raise ValueError(
                    f"{path} holds no series and no family that this version knows; a single "
                    "transform is read by read_transform"
                )
            return described(kind, group)
    except OSError as error:
        raise ValueError(f"{path} is damaged or not HDF5: {error}; write it again") from None

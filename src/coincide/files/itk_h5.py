"""ITK's .h5 transform files, with our own parametrisation beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from coincide.files import native
from coincide.files.itk_foreign import transform_of
from coincide.files.itk_member import ItkMember, member_of, pieces
from coincide.files.itk_several import picked
from coincide.space.grid import Grid
from coincide.transforms.transform import Transform

OURS = "Coincide"
SHARED = "shared"  # a network that holds many transforms, which ITK has no word for
CONTINUED = "continued"  # an entry of ITK's that belongs to our transform in the one before
VERSION = "5.4.0"
# the first name is how ITK spelt it for years; both are in use
PARAMETERS = ("TransformParameters", "TranformParameters")
FIXED = ("TransformFixedParameters", "TranformFixedParameters")


def write_h5(members: Sequence[Transform], path: Path, grid: Grid | None) -> None:
    """Write transforms, outermost first, as one ITK composite.

    ITK, too, lets the last of a composite act first. Voxels are stored as they are: compression
    would take twenty times as long. ITK ignores the group `/Coincide`, in which we keep the
    parameters of transforms that ITK does not have.
    """
    with h5py.File(path, "w") as file:
        file["ITKVersion"] = _text(VERSION)
        group = file.create_group("TransformGroup")
        ours = file.create_group(OURS)
        ours.attrs["version"] = 2
        entries = [(member, piece) for member in members for piece in pieces(member)]
        # entry 0 is then the composite that joins the others
        first = 1 if len(entries) > 1 else 0
        before = None
        for number, (member, piece) in enumerate(entries, first):
            found = member_of(piece, grid)
            if first and number == first:
                kind = f"CompositeTransform_double_{found.dim}_{found.dim}"
                group.create_group("0")["TransformType"] = _text(kind)
            entry = group.create_group(str(number))
            entry["TransformType"] = _text(found.kind)
            entry[PARAMETERS[0]] = found.parameters
            entry[FIXED[0]] = found.fixed
            own = ours.create_group(str(number))
            if member is before:
                own.attrs[CONTINUED] = True
            else:
                native.keep(member, own)
            before = member


def read_h5(path: Path, frame: int | None = None) -> list[Transform]:
    """The transforms of an ITK file, outermost first.

    Args:
        path: The file.
        frame: Which of several that no composite joins.

    Raises:
        ValueError: if this is not a transform file, or a choice between transforms is needed.
    """
    try:
        with h5py.File(path, "r") as file:
            if "TransformGroup" not in file:
                hint = "; read it with read_shared" if f"{OURS}/{SHARED}" in file else ""
                raise ValueError(f"{path} is an HDF5 file, but holds no ITK transform{hint}")
            return _members(file, frame, path)
    except OSError as error:
        raise ValueError(f"{path} is damaged or not HDF5: {error}; write it again") from None


def _members(file: h5py.File, frame: int | None, path: Path) -> list[Transform]:
    group: Any = file["TransformGroup"]
    ours: Any = file.get(OURS, {})
    members: list[Transform] = []
    whole = False  # whether the last one was described by us
    # by number: as text 10 comes before 2
    keys = sorted(group, key=int)
    kinds = [_string(group[key]["TransformType"]) for key in keys]
    for number in picked(kinds, frame, path):
        key, kind = keys[number], kinds[number]
        entry = group[key]
        if whole and key in ours and CONTINUED in ours[key].attrs:
            continue
        restored = (
            # bound here, as both names go on to the next entry
            native.restored(ours[key], lambda e=entry, k=kind: _read(e, k))
            if (key in ours)
            else None
        )
        whole = restored is not None
        members.append(transform_of(_read(entry, kind), path) if restored is None else restored)
    return members


def _read(entry, kind: str) -> ItkMember:
    def values(names: tuple[str, ...]) -> np.ndarray:
        return next((entry[name][()] for name in names if name in entry), np.empty(0))

    return ItkMember(kind, values(PARAMETERS), values(FIXED))


def _text(value: str) -> np.ndarray:
    return np.array([value], dtype=h5py.string_dtype("ascii"))


def _string(dataset) -> str:
    value = np.asarray(dataset[()]).ravel()[0]
    return value.decode() if isinstance(value, bytes) else str(value)

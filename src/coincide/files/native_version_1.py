"""The first layout of our own description in .h5 files: read, no longer written.

It kept every argument of the constructor by its name, parameters among them, and nothing else.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import h5py
import numpy as np
import torch

from coincide.files.itk_member import ItkMember
from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform


def restored(kind: type[Transform], group: Any, itk: Callable[[], ItkMember]) -> Transform | None:
    """The transform of a kind that an early version described; None if it cannot be made.

    Args:
        kind: Class of the transform.
        group: HDF5 group.
        itk: Reads ITK's entry for the same transform, where a displacement is.
    """
    if issubclass(kind, Linear):
        return kind(
            group["matrix"][()], centre=group["centre"][()], radius=float(group.attrs["radius"])
        )
    arguments: dict[str, Any] = {}
    for argument in signature(kind).parameters:
        if argument in group.attrs:
            arguments[argument] = _plain(group.attrs[argument])
        elif argument in group and isinstance(group[argument], h5py.Group):
            place = group[argument]
            arguments[argument] = Grid(tuple(place["shape"][()]), place["affine"][()])
        elif argument in group:
            arguments[argument] = torch.from_numpy(group[argument][()])
    if issubclass(kind, Displacement):
        plain = itk().transform()
        assert isinstance(plain, Displacement)
        arguments |= {"field": plain.field, "grid": plain.grid}
    try:
        return kind(**arguments)
    except TypeError:  # written by a version whose constructor differs; ITK's entry still holds
        return None


def _plain(value: Any) -> Any:
    """A number, text or tuple of an HDF5 attribute as Python's own."""
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    return value.item() if isinstance(value, np.generic) else value

"""Native: our own parametrisation of a transform, kept where ITK does not look.

ITK knows matrices and displacement fields. A rigid transform, a velocity or a B-spline reloads
exactly as what it was from this description; a displacement is read from ITK's own entry.
"""

from collections.abc import Callable
from inspect import signature
from typing import Any

import h5py
import numpy as np
import torch

from coincide.files.itk_member import ItkMember
from coincide.registry import parts
from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform


def keep(transform: Transform, group: Any) -> None:
    """Describe a transform in an HDF5 group.

    A registered transform is understood without being named here if the arguments of its
    constructor are numbers, grids, arrays and its parameters, and it keeps each under the name
    of the argument.
    """
    name = getattr(transform, "name", None)
    if name is None:
        return
    if isinstance(transform, Linear):
        group.attrs["name"] = name
        group.attrs["radius"] = transform.radius
        group["matrix"] = transform.numpy()
        group["centre"] = torch.as_tensor(transform.centre).cpu().numpy()
        return
    if getattr(transform, "grid", None) is None:
        return
    group.attrs["name"] = name
    tensors = {path.rsplit(".", 1)[-1]: t for path, t in transform.named_parameters()}
    for argument in signature(type(transform)).parameters:
        value = getattr(transform, argument, None)
        if isinstance(value, Grid):
            place = group.create_group(argument)
            place["shape"], place["affine"] = np.array(value.shape), value.affine
        elif isinstance(value, int | float | str | tuple):
            group.attrs[argument] = value
        elif isinstance(value, np.ndarray):
            group[argument] = value
        elif argument in tensors and not isinstance(transform, Displacement):
            group[argument] = tensors[argument].detach().cpu().numpy()


def restored(group: Any, itk: Callable[[], ItkMember]) -> Transform | None:
    """The transform that `keep` described; None if this version does not know it.

    Args:
        group: HDF5 group written by `keep`.
        itk: Reads ITK's entry for the same transform, where the field is needed.
    """
    name = group.attrs.get("name")
    kind = parts(Transform).get(str(name))
    if kind is None:
        return None
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

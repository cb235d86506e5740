"""Native: our own parametrisation of a transform, kept where ITK does not look.

ITK knows matrices and displacement fields. A rigid transform, a velocity or a B-spline reloads
exactly as what it was from this description; a displacement is read from ITK's own entry.
"""

from collections.abc import Callable
from typing import Any

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

    Any registered transform that is built as `cls(spacing, <name>=tensor, grid=grid)`, the tensor
    being its first parameter, is understood without being named here.
    """
    name = getattr(transform, "name", None)
    if name is None:
        return
    if isinstance(transform, Linear):
        group.attrs["name"] = name
        group.attrs["radius"] = transform.radius
        group["matrix"] = transform.numpy()
        group["centre"] = transform.centre.detach().cpu().numpy()
        return
    grid = getattr(transform, "grid", None)
    if grid is None:
        return
    group.attrs["name"] = name
    group.attrs["spacing"] = transform.spacing
    if isinstance(transform, Displacement):
        return
    argument, values = next(iter(transform.named_parameters()))
    group.attrs["argument"] = argument
    group["values"] = values.detach().cpu().numpy()
    group["shape"] = np.array(grid.shape)
    group["affine"] = grid.affine


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
    spacing = group.attrs["spacing"]
    spacing = float(spacing) if np.ndim(spacing) == 0 else tuple(float(s) for s in spacing)
    if issubclass(kind, Displacement):
        plain = itk().transform()
        assert isinstance(plain, Displacement)
        return Displacement(spacing, field=plain.field, grid=plain.grid)
    grid = Grid(tuple(group["shape"][()]), group["affine"][()])
    values = torch.from_numpy(group["values"][()])
    return kind(spacing, **{str(group.attrs["argument"]): values}, grid=grid)

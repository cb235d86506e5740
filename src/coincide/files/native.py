"""Native: our own parametrisation of a transform, kept where ITK does not look.

ITK knows matrices and displacement fields. A rigid transform, a velocity, a B-spline or a network
reloads exactly as what it was, from the arguments of its constructor and from its state_dict; the
voxels of a displacement are read from ITK's own entry, so that they are in the file only once.
"""

import ast
import warnings
from collections.abc import Callable
from functools import singledispatch
from inspect import Parameter, signature
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from coincide.files import native_version_1
from coincide.files.itk_member import ItkMember
from coincide.registry import parts
from coincide.space.grid import Grid
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.newton import Newton
from coincide.transforms.series import Moment, Series
from coincide.transforms.transform import Transform

M = TypeVar("M", bound=nn.Module)
EXACT = (torch.float32, torch.float64)  # what ITK's entry of a field holds to the bit


def keep(transform: Transform, group: Any) -> None:
    """Describe a transform in an HDF5 group.

    A registered transform is understood without being named here if it keeps every argument of
    its constructor under the name of the argument, and these are numbers, text, None, tuples,
    lists and dictionaries of them, grids or arrays. All its tensors, those of networks inside it
    included, are kept to the bit.

    Raises:
        ValueError: naming the argument that cannot be described.
    """
    if isinstance(transform, Newton):
        # not what a displacement is in ITK's entry, which holds that of the inverse
        if not isinstance(transform.transform, Displacement):
            inner = group.create_group("inverse_of")
            keep(transform.transform, inner)
            inner.attrs["steps"] = transform.steps
        return
    if isinstance(transform, Moment):
        # with the whole series, as one network serves all times
        series = group.create_group("moment_of")
        describe(transform.series, series)
        series.attrs["time"] = float(transform.time)
        return
    name = vars(type(transform)).get("name")  # of its own, not of a class that it extends
    if name is None:
        return  # nobody could find its class by name; ITK's entry holds its displacement
    # not "name", where the first layout kept it: who only knows that one then reads ITK's entry
    group.attrs["transform"] = name
    describe(transform, group)


def describe(module: nn.Module, group: Any) -> None:
    """Put the arguments and all tensors of a module into an HDF5 group, as `keep` says.

    Raises:
        ValueError: naming the argument that cannot be described.
    """
    plain: dict[str, Any] = {}
    for argument, value in arguments_of(module).items():
        if isinstance(value, Grid):
            place = group.create_group(f"grids/{argument}")
            place["shape"], place["affine"] = np.array(value.shape), value.affine
        elif isinstance(value, np.ndarray):
            group[f"arrays/{argument}"] = value
        else:
            plain[argument] = _readable(module, argument, value)
    group["arguments"] = repr(plain)
    state = {key: values.detach().cpu() for key, values in tensors_of(module).items()}
    # tensors that share their memory, as tied weights do, are refused unless each is a copy
    block = save({key: values.clone().contiguous() for key, values in state.items()})
    group["state"] = np.frombuffer(block, np.uint8)


def restored(group: Any, itk: Callable[[], ItkMember]) -> Transform | None:
    """The transform that `keep` described; None, with a warning, if this version does not know it.

    Args:
        group: HDF5 group written by `keep`.
        itk: Reads ITK's entry for the same transform, where the field is needed.

    Raises:
        ValueError: if the tensors in the file are not those that the class has.
    """
    if "inverse_of" in group:
        inner = restored(group["inverse_of"], itk)
        return None if inner is None else Newton(inner, int(group["inverse_of"].attrs["steps"]))
    if "moment_of" in group:
        return Moment(
            described(Series, group["moment_of"]), float(group["moment_of"].attrs["time"])
        )
    first = "name" in group.attrs
    if not first and "transform" not in group.attrs:
        return None
    name = str(group.attrs["name" if first else "transform"])
    kind = parts(Transform).get(name)
    if kind is None:
        warnings.warn(
            f"the file holds a transform {name!r} that no part is registered as; its sampled "
            "displacement is read instead. Import the module that defines it first",
            stacklevel=2,
        )
        return None
    if first:
        return native_version_1.restored(kind, group, itk)
    try:
        transform = made(kind, group)
    except TypeError as error:
        warnings.warn(
            f"the file holds a {name!r} of another version ({error}); its sampled displacement is "
            "read instead",
            stacklevel=2,
        )
        return None
    return fill(transform, load(group["state"][()].tobytes()), itk)


def made(kind: Callable[..., M], group: Any) -> M:
    """A new module from the arguments that `describe` kept, without its tensors.

    Raises:
        TypeError: if the class takes others.
    """
    arguments: dict[str, Any] = ast.literal_eval(group["arguments"][()].decode())
    for argument, place in group.get("grids", {}).items():
        arguments[argument] = Grid(tuple(place["shape"][()]), place["affine"][()])
    for argument, values in group.get("arrays", {}).items():
        arguments[argument] = values[()]
    return kind(**arguments)


def described(kind: Callable[..., M], group: Any) -> M:
    """The module that `describe` kept, to the bit.

    Raises:
        ValueError: if this version knows another kind of it.
    """
    try:
        found = made(kind, group)
    except TypeError as error:
        raise ValueError(
            f"the file holds a network of another version ({error}); read it with the version "
            "that wrote it"
        ) from None
    loaded(found, load(group["state"][()].tobytes()))
    return found


@singledispatch
def arguments_of(transform: nn.Module) -> dict[str, Any]:
    """What to call the constructor with, apart from tensors that its state holds.

    Raises:
        ValueError: if an argument is not kept under its name.
    """
    state = {key.rsplit(".", 1)[-1] for key in transform.state_dict()}
    arguments = {}
    for argument, rule in signature(type(transform)).parameters.items():
        if rule.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        # a number may be called as a tensor of some layer is
        if argument in state and not isinstance(getattr(transform, argument, None), int | float):
            continue
        if not hasattr(transform, argument):
            raise ValueError(
                f"a {type(transform).__name__} cannot be saved: it keeps no attribute "
                f"{argument!r}, so nobody knows which {argument} it was made with"
            )
        value = getattr(transform, argument)
        if value is not None or rule.default is not None:
            arguments[argument] = value
    return arguments


@arguments_of.register
def _(transform: Linear) -> dict[str, Any]:
    # any matrix of that size makes room for the tensors that follow
    identity = np.eye(len(transform.centre) + 1)
    return {"matrix": identity, "radius": transform.radius}


@singledispatch
def tensors_of(transform: nn.Module) -> dict[str, Tensor]:
    """All tensors to keep."""
    return transform.state_dict()


@tensors_of.register
def _(transform: Displacement) -> dict[str, Tensor]:
    return {} if transform.field.dtype in EXACT else transform.state_dict()


@singledispatch
def fill(transform: Transform, state: dict[str, Tensor], itk: Callable[[], ItkMember]) -> Transform:  # noqa: ARG001
    """Give a new transform the tensors of a file, with their number type and shape.

    Raises:
        ValueError: if they are not those that it has.
    """
    loaded(transform, state)
    return transform


def loaded(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Give a module the tensors of a file, with their number type and shape.

    Raises:
        ValueError: if they are not those that it has.
    """
    own: dict[str, Tensor] = module.state_dict(keep_vars=True)
    if own.keys() != state.keys():
        raise ValueError(
            f"the file holds the tensors {sorted(state)} of a {type(module).__name__}, which "
            f"has {sorted(own)}; read it with the version that wrote it"
        )
    for key, values in own.items():
        values.data = state[key]


@fill.register
def _(transform: Displacement, state: dict[str, Tensor], itk: Callable[[], ItkMember]) -> Transform:
    if state:
        transform.field.data = state["field"]
    else:
        plain = itk().transform()
        assert isinstance(plain, Displacement)
        transform.field.data = plain.field.data
    return transform


def _readable(transform: nn.Module, argument: str, value: Any) -> Any:
    """The value, if it comes back from text as it was."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        same = ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        same = False
    if same is not True:
        raise ValueError(
            f"a {type(transform).__name__} cannot be saved: its {argument} is a "
            f"{type(value).__name__}, and only finite numbers, text, None, tuples, lists and "
            "dictionaries of them, grids and arrays can be described; let the constructor make "
            "it from those"
        )
    return value

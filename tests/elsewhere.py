"""A second device that computes on the CPU, so that code for a GPU is tested without one.

Its tensors say that they are on the device `meta`, hold real values, and refuse to be mixed with
tensors of the CPU, as those of a GPU would.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
CROSSING = (torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default)
INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default)


class There(torch.Tensor):
    """A tensor on the second device."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )

    def __init__(self, values):
        self.values_here = values

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        with Operations():
            return func(*args, **(kwargs or {}))


@contextmanager
def elsewhere():
    """While entered, the second device exists."""
    with Constants(), Operations():
        yield


class Constants(TorchFunctionMode):
    """Tensors made from numbers, which torch would leave without values on `meta`."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == DEVICE:
            del kwargs["device"]
            return func(*args, **kwargs).to(DEVICE)
        return func(*args, **kwargs)


class Operations(TorchDispatchMode):
    """Every operation: computed on the CPU, and refused where it mixes devices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        there = [t for t in tensors if isinstance(t, There)]
        asked = kwargs.get("device")
        asked = None if asked is None else torch.device(asked)
        if any(t.device == DEVICE and not isinstance(t, There) for t in tensors):
            raise RuntimeError(f"{func} got a tensor that torch made from numbers by itself")
        if there and func not in CROSSING:
            first = tensors[:1] if func in INDEXING else tensors
            strangers = [t for t in first if not isinstance(t, There) and t.dim() > 0]
            if strangers:
                raise RuntimeError(f"{func} mixes tensors of two devices")
        if asked is not None and asked == DEVICE:
            kwargs["device"] = torch.device("cpu")
        wraps = bool(there) if asked is None else asked == DEVICE
        if func is torch.ops.aten.copy_.default:
            wraps = isinstance(args[0], There)
        if func is torch.ops.aten._local_scalar_dense.default:
            wraps = False
        plain_args, plain_kwargs = tree_map(here, (args, kwargs))
        out = func(*plain_args, **plain_kwargs)
        if not wraps:
            return out
        known = {id(t.values_here): t for t in there}
        out = tree_map(lambda t: known[id(t)] if id(t) in known else wrapped(t), out)
        return return_and_correct_aliasing(func, args, kwargs, out)


def here(value):
    return value.values_here if isinstance(value, There) else value


def wrapped(value):
    return There(value) if isinstance(value, torch.Tensor) else value

"""Backend: which version of a kernel answers a call. The one place that asks for the device.

| tensors on | version |
|---|---|
| the CPU | `numba` |
| CUDA | `torch`; `triton` where the environment says COINCIDE_TRITON=1 |
| any other device | `torch` |

Triton is asked for, not assumed: its kernels agree with torch in Triton's interpreter and compile
for a GPU, but have not been run on one.

Every version has a table `GRADIENTS` that says, for each of its functions, in which arguments it
is differentiable. Where a call needs a gradient that the version of its device does not give, or
a function that it lacks, the torch version answers under autograd: slower, but right. What torch
does not give either raises an error. So no gradient is ever dropped without a word.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

VARIABLE = "COINCIDE_TRITON"


def backend(function: str, tensors: Mapping[str, Tensor | None]) -> Callable[..., Any]:
    """The version of a function that fits the device of its tensors and the gradients they need.

    Args:
        function: Folder and name, such as `difference.mean_square`.
        tensors: Its floating-point arguments by name; the first is on the device of them all.

    Raises:
        ValueError: if a tensor needs a gradient that no version gives.
        RuntimeError: if Triton is asked for and cannot be had.

    Example:
        >>> backend("smooth.filtered", {"volume": torch.zeros(1)}).__module__
        'coincide.kernels.smooth.numba'
    """
    kernel, name = function.split(".")
    needed = needing(tensors)
    given: tuple[str, ...] = ()
    first = next(t for t in tensors.values() if t is not None)
    for version in versions(kernel, room(first)):
        if name in version.GRADIENTS:
            given = version.GRADIENTS[name]
            if all(k in given for k in needed):
                return getattr(version, name)
    lacking = " and a ".join(k for k in needed if k not in given)
    can = f"its gradients are those to {', '.join(given)}" if given else "it gives no gradient"
    raise ValueError(
        f"{function} was given a {lacking} that needs a gradient, and {can}; "
        "detach it, or call under torch.no_grad()"
    )


def forbid_gradients(function: str, tensors: Mapping[str, Tensor | None]) -> None:
    """Refuse tensors that need a gradient of a function that has compiled loops alone.

    Raises:
        ValueError: naming them.
    """
    needed = needing(tensors)
    if needed:
        raise ValueError(
            f"{function} was given a {' and a '.join(needed)} that needs a gradient, and it gives "
            "none; detach it, or call under torch.no_grad()"
        )


def needing(tensors: Mapping[str, Tensor | None]) -> list[str]:
    """Names of the tensors whose gradient the call must give."""
    # under no_grad a tensor that asks for a gradient gets none, so that any version may answer
    if not torch.is_grad_enabled():
        return []
    return [name for name, t in tensors.items() if t is not None and t.requires_grad]


def room(tensor: Tensor) -> str:
    """Which version is meant for a tensor: `numba`, `triton` or `torch`."""
    kind = tensor.device.type
    if kind == "cpu":
        return "numba"
    real = tensor.dtype in (torch.float32, torch.float64)
    if kind == "cuda" and real and os.environ.get(VARIABLE) == "1":
        _check_triton(tensor.device)
        return "triton"
    return "torch"


@cache
def versions(kernel: str, preferred: str) -> tuple[ModuleType, ...]:
    """The modules of a kernel that may answer: the preferred one if there is one, then torch."""
    # a dict keeps the order, and names torch once where it is preferred
    names = dict.fromkeys((preferred, "torch"))
    places = [f"coincide.kernels.{kernel}.{name}" for name in names]
    return tuple(import_module(place) for place in places if find_spec(place) is not None)


@cache
def _check_triton(device: torch.device) -> None:
    # Triton compiles a small launcher in C beside every kernel, and knows GPUs from Volta on
    lacks = []
    if find_spec("triton") is None:
        lacks.append("the package triton")
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        lacks.append("a C compiler (gcc, clang or one that CC names)")
    if torch.cuda.get_device_capability(device) < (7, 0):
        lacks.append("a GPU of compute capability 7.0 or later")
    if lacks:
        raise RuntimeError(
            f"{VARIABLE}=1 asks for Triton's kernels, which need {' and '.join(lacks)}; "
            "without the variable the same is computed by torch"
        )

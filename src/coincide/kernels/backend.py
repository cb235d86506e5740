"""Backend: which kernels work on a tensor that is not on the CPU."""

import os
import shutil
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor


def backend(tensor: Tensor, kernel: str) -> Any:
    """Module of a kernel: compiled by Triton where that can be had, else the torch reference.

    Both rooms have modules of the same names with functions of the same arguments.

    Args:
        tensor: What the kernel is to work on, not on the CPU.
        kernel: Name of the module, such as `warp`.
    """
    room = "triton" if compiles(tensor) else "reference"
    return import_module(f"coincide.kernels.{room}.{kernel}")


def compiles(tensor: Tensor) -> bool:
    """Whether Triton compiles kernels for a tensor's device and precision."""
    real = tensor.dtype in (torch.float32, torch.float64)
    return real and tensor.is_cuda and _ready(tensor.device)


@cache
def _ready(device: torch.device) -> bool:
    # Triton compiles a small launcher in C beside every kernel, and knows GPUs from Volta on
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    recent = torch.cuda.get_device_capability(device) >= (7, 0)
    return bool(compiler) and recent and find_spec("triton") is not None

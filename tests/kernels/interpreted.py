"""The Triton kernels on the GPU where there is one, else on the CPU by Triton's interpreter."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import coincide.kernels

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VARIABLE = "TRITON_INTERPRET"


FOLDER = Path(next(iter(coincide.kernels.__path__)))
KERNELS = sorted(path.parent.name for path in FOLDER.glob("*/triton.py"))


class Compiled:
    """The Triton version of a kernel, imported when a test first asks something of it."""

    def __init__(self, kernel: str):
        self.kernel = kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(module(f"coincide.kernels.{self.kernel}.triton"), name)


def load_all() -> None:
    """Import every Triton version there is, where Triton is."""
    if importlib.util.find_spec("triton") is not None:
        for kernel in KERNELS:
            module(f"coincide.kernels.{kernel}.triton")


def module(name: str) -> ModuleType:
    """A module that imports Triton; skips the test that asks where Triton is missing."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton has no wheel for this machine")
    if DEVICE == "cuda" or name in sys.modules:
        return importlib.import_module(name)
    # read when a kernel is defined, and by Triton's own functions when Triton is imported; nothing
    # else in the tests is to see it
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        return importlib.import_module(name)
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before

"""The Triton kernels on the GPU where there is one, else on the CPU by Triton's interpreter."""

import importlib
import importlib.util
import os
import sys
from types import ModuleType

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VARIABLE = "TRITON_INTERPRET"
# Odd, and of more voxels than a block has: the interpreter is slow.
SHAPES = {2: (17, 19), 3: (7, 6, 9)}


def kernels(name: str) -> ModuleType:
    """A module of `coincide.kernels.triton`; skips the tests that ask where Triton is missing."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("Triton has no wheel for this machine", allow_module_level=True)
    module = f"coincide.kernels.triton.{name}"
    if DEVICE == "cuda" or module in sys.modules:
        return importlib.import_module(module)
    # read when a kernel is defined, and by Triton's own functions when Triton is imported; nothing
    # else in the tests is to see it
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        return importlib.import_module(module)
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before

"""Triton's version of every kernel that has one agrees with torch, as the CPU version does."""

import pytest
import torch
from interpreted import DEVICE, KERNELS, module
from table import ROWS
from versions import agree, made

pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
WRITTEN = [name for name in ROWS if name.split(".")[0] in KERNELS]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
def test_the_triton_version_agrees_with_torch_in_value_and_every_gradient(name, dim, dtype):
    row = ROWS[name]
    kernel, function = name.split(".")
    compiled = module(f"coincide.kernels.{kernel}.triton")
    if function not in compiled.GRADIENTS:
        pytest.skip(f"Triton has no {name}, so that torch answers")
    agree(row, compiled, made(row, dim, 2, dtype), DEVICE)

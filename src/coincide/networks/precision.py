"""Precision: the numbers in which layers compute."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def computing(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """In which layers compute in `precision`; in float32 where the device knows nothing shorter."""
    if precision == "float32" or not knows_bfloat16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def knows_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 pays; a processor without instructions for it takes forty times as long."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()

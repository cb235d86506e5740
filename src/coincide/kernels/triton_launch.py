"""How every kernel is launched: three axes, contiguous, a block of neighbouring voxels each."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from coincide.kernels.as_3d import as_3d_matrix

BLOCK = 256
# Sizes of volumes, as kernels name them: a kernel is compiled once for all of them.
SIZES = ("X", "Y", "Z", "I", "J", "K", "channels", "voxels", "n", "inner", "radius", "bins")


def as_3d(volume: Tensor) -> Tensor:
    """View of (B, C, *S) as a contiguous (B, C, X, Y, Z); missing leading axes have one voxel."""
    shape = volume.shape
    missing = 3 - (len(shape) - 2)
    return volume.detach().contiguous().view(*shape[:2], *(1,) * missing, *shape[2:])


def blocks(voxels: int) -> int:
    """How many blocks cover so many voxels."""
    return triton.cdiv(voxels, BLOCK)


def launch(kernel: Any, voxels: int, batch: int, *arguments: Any) -> None:
    """Run a kernel over the voxels of each of a batch; BLOCK is its last argument."""
    tensor = next(a for a in arguments if isinstance(a, Tensor))
    # Triton launches on the current device, which need not be that of the tensors
    with torch.cuda.device_of(tensor):
        kernel[(blocks(voxels), batch)](*arguments, BLOCK)


def matrix_on(matrix: np.ndarray, like: Tensor) -> Tensor:
    """A (D, D) or (D, D+1) matrix for three axes, on the device and in the precision of `like`."""
    return constant(as_3d_matrix(matrix, np.dtype(np.float64)), like)


def constant(values: np.ndarray, like: Tensor) -> Tensor:
    """Numbers on the device of `like`, kept there: a copy in every step would wait for the GPU."""
    values = np.ascontiguousarray(values)
    # as bytes, because a cache needs keys that can be hashed, which arrays cannot
    return _kept(values.tobytes(), values.dtype.str, values.shape, like.dtype, like.device)


@lru_cache(maxsize=256)
def _kept(
    data: bytes, kind: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    # a copy, because memory of bytes cannot be written, and torch wants it to be
    values = torch.from_numpy(np.frombuffer(data, kind).reshape(shape).copy())
    # offsets stay whole numbers whatever the images are stored in
    dtype = dtype if values.is_floating_point() else values.dtype
    return values.to(device, dtype)

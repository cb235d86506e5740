"""Volumes, fields and matrices as the compiled loops take them: of three axes, whatever they have.

Missing axes come first and have one voxel; along them nothing moves and nothing changes.
"""

import numpy as np
import torch


def as_3d(volume: torch.Tensor) -> np.ndarray:
    """View of (B, C, *S) as a contiguous (B, C, X, Y, Z); a copy where it is not contiguous."""
    shape = tuple(volume.shape)
    missing = 3 - (len(shape) - 2)
    # missing axes go in front: memory stays contiguous along the last one
    return volume.detach().contiguous().reshape(*shape[:2], *(1,) * missing, *shape[2:]).numpy()


def as_3d_field(field: torch.Tensor) -> np.ndarray:
    """A displacement (B, D, *S) with three components and three axes.

    A view in 3-D; a copy in 2-D, where a component of zeros is put first. So what a loop writes
    there is not written to the field: see `write`.
    """
    array = as_3d(field)
    missing = 3 - array.shape[1]
    if missing == 0:
        return array
    zero = np.zeros((array.shape[0], missing, *array.shape[2:]), array.dtype)
    return np.concatenate([zero, array], 1)


def as_3d_matrix(matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A (D, D) or (D, D+1) matrix for three axes; missing leading axes stay where they are."""
    dim, columns = matrix.shape
    full = np.zeros((3, 3 + columns - dim))
    # ones on the diagonal keep the matrix invertible, and send voxel 0 of a missing axis to voxel 0
    full[: 3 - dim, : 3 - dim] = np.eye(3 - dim)
    full[3 - dim :, 3 - dim :] = matrix
    return full.astype(dtype)


def from_3d_field(array: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
    """The displacement (B, D, *S) of that shape in an array of three components and axes."""
    return torch.from_numpy(array[:, 3 - shape[1] :].reshape(shape))


def write(array: np.ndarray, out: torch.Tensor) -> None:
    """Bring what a loop wrote into `as_3d(out)` or `as_3d_field(out)` to `out` itself.

    Nothing is left to do where the array is a view of `out`, as it is in 3-D.
    """
    # the same address means a view, into which the loop has written already
    if array.ctypes.data != out.data_ptr():
        # less the component of zeros that `as_3d_field` put first
        array = array[:, array.shape[1] - out.shape[1] :]
        out.copy_(torch.from_numpy(array).reshape(out.shape))

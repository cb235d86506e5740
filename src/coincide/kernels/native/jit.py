"""How every compiled loop is compiled: once per machine, parallel, without bounds checks."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

import numba
import numpy as np
import torch
from rich.console import Console

# every liberty of fast arithmetic but one: a number that is not one must stay so, since positions
# become addresses
FAST = {"contract", "arcp", "reassoc", "nsz", "afn", "ninf"}
LOOP = {"parallel": True, "cache": True, "fastmath": FAST, "error_model": "numpy", "nogil": True}
INLINE = {"inline": "always", "fastmath": FAST, "error_model": "numpy"}
_announced: list[bool] = []
_ONE = threading.RLock()


def loop(function: Callable) -> Callable:
    """Compile a parallel loop at its first call and keep the machine code on disk.

    It may be called from several threads, which then take turns: not every threading layer of
    Numba can be entered twice.
    """
    compiled = numba.njit(**LOOP)(function)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        with _ONE:
            if not _announced and not compiled.signatures:
                _announce(compiled)
            return compiled(*arguments)

    return call


def inline(function: Callable) -> Callable:
    """A piece of a loop, pasted into the loops that use it."""
    return numba.njit(**INLINE)(function)


def called(function: Callable) -> Callable:
    """A piece of a loop that is called, not pasted, because it is long or used twice."""
    return numba.njit(cache=True, fastmath=FAST, error_model="numpy", nogil=True)(function)


def lifted(volume: torch.Tensor) -> np.ndarray:
    """View of (B, C, *S) as a contiguous (B, C, X, Y, Z); missing leading axes have one voxel."""
    shape = tuple(volume.shape)
    missing = 3 - (len(shape) - 2)
    return volume.detach().contiguous().reshape(*shape[:2], *(1,) * missing, *shape[2:]).numpy()


def lifted_field(field: torch.Tensor) -> np.ndarray:
    """View or copy of a displacement (B, D, *S) with three components and three axes."""
    array = lifted(field)
    missing = 3 - array.shape[1]
    if missing == 0:
        return array
    zero = np.zeros((array.shape[0], missing, *array.shape[2:]), array.dtype)
    return np.concatenate([zero, array], 1)


def lifted_matrix(matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A (D, D) or (D, D+1) matrix for three axes; missing leading axes stay where they are."""
    dim, columns = matrix.shape
    full = np.zeros((3, 3 + columns - dim))
    full[: 3 - dim, : 3 - dim] = np.eye(3 - dim)
    full[3 - dim :, 3 - dim :] = matrix
    return full.astype(dtype)


def threads(count: int | None = None) -> int:
    """Set how many threads the loops and torch use; None: OMP_NUM_THREADS, else every core."""
    count = count or int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1
    count = min(count, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(count)
    torch.set_num_threads(count)
    return count


def keep_memory() -> None:
    """Keep freed memory for the next array, as fresh pages cost more than the arithmetic on them.

    It concerns the whole process, so programs ask for it, not the library. Where the C library
    cannot be asked, nothing changes.
    """
    trim, mapped = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD; larger arrays are given back
    ask = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if ask is not None:
        ask(trim, 2**28)
        ask(mapped, 2**26)


def _announce(compiled: Any) -> None:
    _announced.append(True)
    folder = compiled.stats.cache_path
    if folder and not any(name.endswith(".nbc") for name in _listing(folder)):
        Console(stderr=True).print(
            "[dim]coincide: compiling its inner loops for this machine; once, about a minute[/dim]"
        )


def _listing(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208

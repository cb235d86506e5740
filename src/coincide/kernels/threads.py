"""Threads: how many the loops and torch use, and how a process keeps its memory."""

import ctypes
import os
import sys

import numba
import torch


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

"""Compile: how every loop is compiled: once per machine, parallel, without bounds checks."""

import os
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numba
from rich.console import Console

# every liberty of fast arithmetic but "nnan": what is not a number must stay so, since positions
# become addresses
FAST = {"contract", "arcp", "reassoc", "nsz", "afn", "ninf"}
# numpy's error model lets x / 0 be inf; Python's would test every divisor, and not vectorise
LOOP = {"parallel": True, "cache": True, "fastmath": FAST, "error_model": "numpy", "nogil": True}
INLINE = {"inline": "always", "fastmath": FAST, "error_model": "numpy"}
LOOPS: list[Any] = []  # every loop that has been defined, as Numba's dispatcher
_announced: list[bool] = []
_ONE = threading.RLock()


def loop(function: Callable) -> Callable:
    """Compile a parallel loop at its first call and keep the machine code on disk.

    It may be called from several threads, which then take turns: not every threading layer of
    Numba can be entered twice.
    """
    compiled = numba.njit(**LOOP)(function)
    LOOPS.append(compiled)

    @wraps(function)
    def call(*arguments: Any) -> Any:
        with _ONE:
            # without a signature the loop has neither been compiled nor loaded in this process
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


def cached() -> tuple[int, list[Path]]:
    """How many machine codes of loops the disk holds, and in which folders.

    Numba keeps them beside the sources, or in the user's cache where it may not write there.
    """
    folders = sorted({Path(one.stats.cache_path) for one in LOOPS if one.stats.cache_path})
    return sum(len(_listing(str(folder))) for folder in folders), folders


def _announce(compiled: Any) -> None:
    """Say once a process that a loop is compiled for which the disk holds no machine code."""
    folder, name = compiled.stats.cache_path, compiled.py_func.__name__
    # Numba names a file after module, function and line, and every loop lives in a `loops.py`
    if folder and not any(n.startswith(f"loops.{name}-") for n in _listing(folder)):
        _announced.append(True)
        Console(stderr=True).print(
            "[dim]coincide: compiling its inner loops for this machine; once, about a minute[/dim]"
        )


def _listing(folder: str) -> list[str]:
    files = os.listdir(folder) if os.path.isdir(folder) else []  # noqa: PTH112, PTH208
    # .nbc holds machine code, the .nbi beside it only an index
    return [name for name in files if name.endswith(".nbc")]

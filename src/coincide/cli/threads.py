"""Threads: how many processor cores a command may use."""

import os

import numba
import torch
from numba.core import config


def limit_threads(count: int | None) -> None:
    """Limit both pools of threads, torch's and Numba's, of this process.

    A program may do that, a library not: it is for the command line only.

    Args:
        count: 1 or more; None: leave them as they are.
    """
    if count is None:
        return
    torch.set_num_threads(count)
    os.environ["NUMBA_NUM_THREADS"] = str(count)
    try:
        config.reload_config()
    except RuntimeError:  # its threads run already: fewer of them can be used, but no more
        running: int = getattr(config, "NUMBA_NUM_THREADS")  # noqa: B009  it is made when imported
        os.environ["NUMBA_NUM_THREADS"] = str(running)
        numba.set_num_threads(min(count, running))

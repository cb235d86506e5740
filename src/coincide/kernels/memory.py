"""Memory: how a process keeps what it has been given."""

import ctypes
import sys


def keep_memory() -> None:
    """Keep freed memory for the next array, as fresh pages cost more than the arithmetic on them.

    It concerns the whole process, so programs ask for it, not the library. Where the C library
    cannot be asked, nothing changes.
    """
    trim, mapped = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD; larger arrays are given back
    # the process itself, whichever C library it runs on; not all have mallopt
    ask = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if ask is not None:
        # up to 256 MiB may lie unused, and arrays up to 64 MiB are taken from there
        ask(trim, 2**28)
        ask(mapped, 2**26)

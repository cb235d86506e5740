"""Lock: that one program at a time writes into a folder."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder; the system lets go of it when the process ends, however it ends.

    Raises:
        ValueError: if another program holds it.
    """
    with (folder / ".lock").open("a+b") as file:
        file.seek(0)  # the same byte for all, as Windows locks bytes
        try:
            _take(file.fileno())
        except OSError:
            raise ValueError(
                f"another batch is writing to {folder}; wait until it has ended, or choose another "
                "folder with --out"
            ) from None
        yield


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

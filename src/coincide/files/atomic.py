"""Atomic writing: a file is either complete or not there."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOKEN = 33  # characters of the name of a temporary file that are its own
REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EROFS: "the folder is read-only; choose another folder",
    errno.EACCES: "you may not write in this folder; choose another or change its permissions",
    errno.EPERM: "you may not write in this folder; choose another or change its permissions",
    errno.ENOENT: "the folder does not exist; create it first",
    errno.ENOTDIR: "its parent is a file, not a folder; choose another folder",
    errno.EISDIR: "it is a folder; give the name of a file",
}


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` only if everything went well.

    The temporary file lies in the same folder and keeps the suffixes, so that writers that choose
    a format by name work. It is flushed to disk and renamed at the end, or deleted on any error.

    Args:
        path: Where the file shall be in the end; an existing file is replaced.

    Raises:
        OSError: naming `path`, what is wrong, and what would work.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic(Path(folder, "a.txt")) as temporary:
        ...         _ = temporary.write_text("done")
        ...     Path(folder, "a.txt").read_text()
        'done'
    """
    final = Path(path).resolve()
    temporary = final.with_name(f".{uuid.uuid4().hex}{suffixes(final)}")
    try:
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush(temporary)
        os.replace(temporary, final)  # noqa: PTH105
    except OSError as error:
        reason = REASONS.get(error.errno or 0, error.strerror or str(error))
        raise OSError(error.errno or errno.EIO, f"cannot write {path}: {reason}") from error
    finally:
        if os.path.lexists(temporary):
            _remove(temporary)


def suffixes(path: Path) -> str:
    """The suffix that says the format, `.nii.gz` counted as one; lower case is kept as given."""
    last = path.suffix
    if last.lower() == ".gz":
        return path.with_suffix("").suffix + last
    return last


def _remove(temporary: Path) -> None:
    """Delete an unfinished file, and any second file that its format has put beside it."""
    with contextlib.suppress(OSError):
        for part in temporary.parent.glob(temporary.name[:TOKEN] + "*"):
            part.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Contents: the bytes of a file and what they are, whatever the file is called."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from isal import igzip, isal_zlib

GZIP = b"\x1f\x8b"
PICTURES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"II*\0": "tiff", b"MM\0*": "tiff"}
KNOWN = "NIfTI, MGH, NRRD, MetaImage, DICOM, PNG, JPEG, TIFF"


@dataclass(frozen=True)
class Contents:
    """A file in memory.

    Args:
        path: Where it was.
        kind: What it is: `nifti`, `analyze`, `mgh`, `nrrd`, `metaimage`, `dicom`, `png`, `jpeg`,
            `tiff` or `hdf5`.
        data: Its bytes, decompressed.
        packed: Whether they were gzip-compressed.
        warnings: One sentence for each oddity.
    """

    path: Path
    kind: str
    data: bytes
    packed: bool = False
    warnings: tuple[str, ...] = ()


def contents(path: str | Path) -> Contents:
    """Read a file and recognise it by its first bytes; gzip is undone.

    Raises:
        FileNotFoundError: naming a file beside it that may be meant.
        ValueError: if the file is empty, damaged, only a Git-LFS pointer, or of no known kind.
    """
    path = Path(path)
    data = _bytes(path)
    packed = data.startswith(GZIP)
    warnings = []
    if packed != path.name.lower().endswith((".gz", ".mgz")):
        state = "is gzip-compressed" if packed else "is not compressed"
        warnings.append(f"{path.name} {state} although its name says otherwise; read as it is")
    if packed:
        data = unpacked(data, path)
    kind = kind_of(data)
    if kind is None:
        raise ValueError(
            f"{path} is not an image in a known format (it begins with {data[:12]!r}); "
            f"known: {KNOWN}"
        )
    return Contents(path, kind, data, packed, tuple(warnings))


def kind_of(data: bytes) -> str | None:
    """What kind of file begins with these bytes, or None."""
    head = data[:4096]
    if data[128:132] == b"DICM":  # first, as anything may stand before it
        return "dicom"
    if data[344:348] in (b"n+1\0", b"ni1\0") or data[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    if data[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):
        return "analyze"
    if data[:4] == b"\0\0\0\x01":
        return "mgh"
    if data[:4] == b"NRRD":
        return "nrrd"
    if data[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    for magic, kind in PICTURES.items():
        if data.startswith(magic):
            return kind
    if b"NDims" in head and b"=" in head:
        return "metaimage"
    return None


def unpacked(data: bytes, path: Path) -> bytes:
    """The gzip stream undone.

    Raises:
        ValueError: if it is cut off or damaged, saying how much was readable.
    """
    try:
        stream = isal_zlib.decompressobj(31)
        out = stream.decompress(data)
        if not stream.eof:
            raise EOFError("no end of stream")
        # several streams one after the other are one file, as with block-compressed gzip
        return igzip.decompress(data) if stream.unused_data else out
    except (EOFError, OSError, zlib.error, isal_zlib.IsalError) as error:  # pyright: ignore
        raise ValueError(
            f"{path} is cut off or damaged: its compressed data ({len(data)} bytes) end too early "
            f"or do not match their checksum ({error}); copy or download it again"
        ) from None


def _bytes(path: Path) -> bytes:
    if not path.exists():
        near = _neighbours(path)
        hint = f"; beside it are {near}" if near else ""
        raise FileNotFoundError(f"there is no file {path}{hint}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; only a folder of DICOM slices can be read")
    data = path.read_bytes()
    if not data:
        raise ValueError(f"{path} is empty (0 bytes); copy or download it again")
    if data.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"{path} is only a Git-LFS pointer, not the image; fetch it with `git lfs pull`"
        )
    return data


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return ""
    stem = path.name.split(".")[0]
    return ", ".join(sorted(p.name for p in path.parent.glob(f"{stem}.*"))[:5]) if stem else ""

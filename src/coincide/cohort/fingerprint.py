"""Fingerprint: what a pair was made from, so that it is done again when that changes."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincide.cohort.row import Row

CHUNK = 1 << 20
# formats of two files, of which one is named: the header says where the voxels are
BESIDE = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz"), ".hdr": (".img",)}
BESIDE[".img"] = (".hdr",)


@dataclass
class Hashes:
    """SHA-256 of files and folders; a template that a thousand pairs share is read once."""

    known: dict[str, str] = field(default_factory=dict)

    def of(self, path: str) -> str:
        """Hash of the bytes of a file, or of all files in a folder with their names.

        Raises:
            FileNotFoundError: if there is none.
        """
        if path not in self.known:
            self.known[path] = _hashed(Path(path))
        return self.known[path]


def fingerprint(row: Row, hashes: Hashes) -> dict[str, Any]:
    """What the result of a pair depends on.

    The content of files counts, not where they lie, so that data may move to another disk.

    Returns:
        `hash` of it all; `options` as text; `inputs`, the file and its hash for those that are
        files.

    Raises:
        FileNotFoundError: naming an input that is not there.
    """
    inputs = {name: hashes.of(row.options[name]) for name in row.files}
    options = {k: v for k, v in sorted(row.options.items()) if k not in row.files}
    text = json.dumps([options, dict(sorted(inputs.items()))])
    return {
        "hash": hashlib.sha256(text.encode()).hexdigest(),
        "options": options,
        "inputs": {k: {"file": row.options[k], "sha256": v} for k, v in inputs.items()},
    }


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of the inputs and options that differ between two fingerprints."""

    def contents(one: dict[str, Any]) -> dict[str, Any]:
        inputs = {k: v.get("sha256") for k, v in one.get("inputs", {}).items()}
        return {**one.get("options", {}), **inputs}

    before, after = contents(old), contents(new)
    return sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))


def _hashed(path: Path) -> str:
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
    elif path.exists():
        more = BESIDE.get(path.suffix.lower(), ())
        beside = [path.with_suffix(suffix) for suffix in more]
        files = [path, *(p for p in beside if p.exists())]
    else:
        raise FileNotFoundError(f"there is no file {path}")
    digest = hashlib.sha256()
    for file in files:
        if len(files) > 1:  # names tell the files of a folder apart
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()

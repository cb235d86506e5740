"""Fingerprint: what a pair was made from, so that it is done again when that changes."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincide.cohort.row import Row
from coincide.scan import content_hash


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
            if not Path(path).exists():
                raise FileNotFoundError(f"there is no file {path}")
            self.known[path] = content_hash(path)
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

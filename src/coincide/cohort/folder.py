"""CohortFolder: results of many pairs on disk, each complete or not there."""

import json
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coincide.cohort.lock import locked
from coincide.files.atomic import atomic

RECORD = "pair.json"
LEFT = re.compile(r"\.[0-9a-f]{32}(\..*)?")  # what a killed `atomic` leaves


class CohortFolder:
    """A folder with one folder for each pair that is done.

    A pair is written under another name and renamed when it is complete, so that whatever has the
    name of a pair is a finished one. `failed/` holds the error of every pair that failed.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.unfinished = path / ".unfinished"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, hold it, and clear away what a killed run has left in it.

        Raises:
            ValueError: if another program is writing to it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            self._clear()
            self.unfinished.mkdir()
            try:
                yield
            finally:
                self._clear()

    def begun(self, name: str) -> Path:
        """Where the pair of that name is to be written; short, as some systems limit paths."""
        return self.unfinished / f"{name}-{uuid.uuid4().hex[:8]}"

    def record(self, name: str) -> dict[str, Any] | None:
        """What the finished pair of that name was made from; None: there is none."""
        try:
            found = json.loads((self.path / name / RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "hash" in found else None

    def scores(self, name: str) -> dict[str, Any]:
        """Scores of a finished pair."""
        return json.loads((self.path / name / "scores.json").read_text("utf-8"))

    def check(self, name: str) -> None:
        """Refuse to replace a folder that is not the result of a pair.

        Raises:
            ValueError: if there is one.
        """
        place = self.path / name
        if place.exists() and self.record(name) is None:
            raise ValueError(f"{place} is there and is no finished pair; move it away")

    def finish(self, name: str, written: Path, record: Mapping[str, Any]) -> None:
        """Give what was written its name; an earlier result of the name gives way."""
        (written / RECORD).write_text(json.dumps(record, indent=2), "utf-8")
        place = self.path / name
        if place.exists():
            # not deleted in place: a pair that is half there must never have its name
            place.rename(self.begun(name))
        written.rename(place)
        self._failure(name).unlink(missing_ok=True)

    def fail(self, name: str, text: str) -> None:
        """Keep why a pair failed."""
        self._failure(name).parent.mkdir(exist_ok=True)
        with atomic(self._failure(name)) as temporary:
            temporary.write_text(text.rstrip() + "\n", "utf-8")

    def _failure(self, name: str) -> Path:
        return self.path / "failed" / f"{name}.txt"

    def _clear(self) -> None:
        for place in (self.path, self.path / "failed"):
            for left in place.iterdir() if place.is_dir() else ():
                if LEFT.fullmatch(left.name) and left.is_file():
                    left.unlink()
        for _ in range(50):  # a process that has just been killed may still be writing
            if not self.unfinished.exists():
                break
            shutil.rmtree(self.unfinished, ignore_errors=True)
            if self.unfinished.exists():
                time.sleep(0.1)
        failed = self.path / "failed"
        if failed.is_dir() and not any(failed.iterdir()):
            failed.rmdir()

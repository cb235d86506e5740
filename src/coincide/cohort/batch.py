"""Batch: register many pairs, going on where an earlier call was stopped."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from coincide.cohort.executor import Done, Executor, Job
from coincide.cohort.fingerprint import Hashes, changes, fingerprint
from coincide.cohort.folder import CohortFolder
from coincide.cohort.row import Row
from coincide.cohort.table import Table


@dataclass(frozen=True)
class Progress:
    """What has just happened to one pair.

    Args:
        name: Of the pair.
        event: `kept` from an earlier call; `changed`, so that it is done again; `done`; `failed`;
            `note`, something else.
        text: What is to be said about it; may be empty.
        ended: How many pairs need nothing more.
        total: How many there are.
        left: How long the rest will take, estimated, seconds; None: not known yet.
    """

    name: str
    event: Literal["kept", "changed", "done", "failed", "note"]
    text: str
    ended: int
    total: int
    left: float | None = None


def batch(
    rows: Sequence[Row],
    folder: CohortFolder,
    executor: Executor,
    *,
    watch: Callable[[Progress], None] = print,
) -> Table:
    """Register every pair that has no result yet, or whose files or options have changed.

    The folder then holds a folder for each pair, `scores.csv`, and `failed/` with the errors.

    Args:
        rows: The pairs.
        folder: Where the results go; the caller has opened it.
        executor: Who runs them; the caller has entered it.
        watch: Told of every pair as it ends.

    Returns:
        Status and scores of every pair.

    Raises:
        OSError: if the table cannot be written.
    """
    run = _Run(folder, watch, len(rows), Table({row.name: {"status": "waiting"} for row in rows}))
    hashes, begun = Hashes(), {}
    for row in rows:
        try:
            made = fingerprint(row, hashes)
            folder.check(row.name)
        except (OSError, ValueError) as error:
            run.failed(row.name, str(error))
            continue
        earlier = folder.record(row.name)
        if earlier is not None and earlier["hash"] == made["hash"]:
            run.kept(row.name, earlier)
            continue
        if earlier is not None:
            what = ", ".join(changes(earlier, made))
            run.say(row.name, "changed", f"since it was done: {what}; done again")
        begun[row.name] = folder.begun(row.name), made
    run.write()
    run.start = time.monotonic()
    run.waiting = len(begun)
    for row in rows:
        if row.name in begun:
            executor.submit(Job(row.name, row.arguments(begun[row.name][0])))
    for done in executor.completed():
        run.ended(done, *begun[done.job.name])
        run.write()
    run.table.write(folder.path / "scores.csv")
    return run.table


class _Run:
    """Bookkeeping of one call."""

    def __init__(
        self, folder: CohortFolder, watch: Callable[[Progress], None], total: int, table: Table
    ):
        self.folder, self.watch, self.total, self.table = folder, watch, total, table
        self.start, self.waiting, self.count = time.monotonic(), 0, 0

    def kept(self, name: str, record: dict[str, Any]) -> None:
        self.table.done(name, record.get("seconds", 0), self.folder.scores(name))
        self.count += 1
        made = record.get("version", "an unknown version")
        now = version("coincide")
        other = "" if made == now else f"made by {made}, not {now}; delete its folder to redo it"
        self.say(name, "kept", other)

    def ended(self, done: Done, written: Any, made: dict[str, Any]) -> None:
        name = done.job.name
        if done.code != 0:
            self.failed(name, done.text or f"ended with code {done.code}", done.seconds)
            return
        record = {**made, "version": version("coincide"), "seconds": round(done.seconds, 2)}
        record["made"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        record["said"] = done.text.strip().splitlines()
        try:
            self.folder.finish(name, written, record)
            self.table.done(name, done.seconds, self.folder.scores(name))
        except (OSError, ValueError) as error:
            self.failed(name, str(error), done.seconds)
            return
        self.count += 1
        self.say(name, "done", f"{done.seconds:.1f} s")

    def failed(self, name: str, error: str, seconds: float = 0.0) -> None:
        if self.folder.record(name) is not None:
            error = f"its folder holds the result of earlier files or options\n{error}"
        self.folder.fail(name, error)
        self.table.failed(name, seconds, error)
        self.count += 1
        self.say(name, "failed", self.table.rows[name]["error"])

    def say(self, name: str, event: Any, text: str) -> None:
        left = None
        ended = self.count - (self.total - self.waiting)
        if self.waiting and ended > 0:
            left = (time.monotonic() - self.start) / ended * (self.waiting - ended)
        self.watch(Progress(name, event, text, self.count, self.total, left))

    def write(self) -> None:
        """The table so far; one that cannot be written now, as a spreadsheet holds it, is later."""
        try:
            self.table.write(self.folder.path / "scores.csv")
        except OSError as error:
            self.watch(Progress("scores.csv", "note", str(error), self.count, self.total))

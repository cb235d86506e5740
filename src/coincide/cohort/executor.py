"""Executor: who runs the jobs of a cohort, wherever that is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self


@dataclass(frozen=True)
class Job:
    """One call of the program.

    Args:
        name: Of the pair.
        arguments: The command line, without the name of the program.
    """

    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """How a job ended.

    Args:
        job: Which.
        code: Exit code; 0 is well. None: the process ended before it could say one.
        text: What it printed, or why it could not be run.
        seconds: How long it took.
    """

    job: Job
    code: int | None
    text: str
    seconds: float


class Executor(Protocol):
    """Runs jobs, several at once, in any order.

    A job that crashes, or is killed, is `Done` with a code that is not 0; it neither raises nor
    stops the others. When the program that holds the executor ends, in whatever way, so do its
    jobs. Used as a context, so that nothing runs on after an error.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def submit(self, job: Job) -> None:
        """Queue a job."""
        ...

    def completed(self) -> Iterator[Done]:
        """Jobs as they end, until all that were submitted have."""
        ...

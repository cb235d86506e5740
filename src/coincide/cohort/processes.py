"""Processes: an executor of worker processes on this machine."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO, Self

from coincide.cohort.executor import Done, Job

TAIL = 4000  # characters of what a process said last


class Processes:
    """Jobs in processes of their own, which are kept for the next job: importing takes seconds.

    Processes, not threads, because a job that runs out of memory then takes no other with it; and
    ones that talk through their standard input, because they notice by it when this one is killed.

    Args:
        entry: What a job calls with its arguments, as `module:function`.
        jobs: How many run at once.
        threads: How many threads each uses; None: the cores divided by `jobs`, unless
            OMP_NUM_THREADS says another number.
    """

    def __init__(self, entry: str, jobs: int = 1, threads: int | None = None):
        if jobs < 1:
            raise ValueError(f"at least one job must run at a time, not {jobs}")
        self.entry = entry
        self.environment = {**os.environ, "PYTHONUTF8": "1"}
        if threads is not None or "OMP_NUM_THREADS" not in os.environ:
            count = str(threads or max(1, cores() // jobs))
            self.environment |= {"OMP_NUM_THREADS": count, "NUMBA_NUM_THREADS": count}
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._left = 0
        self._closed = False
        self._running: dict[int, subprocess.Popen] = {}
        self._threads = [threading.Thread(target=self._serve, args=(n,)) for n in range(jobs)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        for process in list(self._running.values()):
            process.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._left += 1
        self._waiting.put(job)

    def completed(self) -> Iterator[Done]:
        """Jobs as they end, until all that were submitted have."""
        while self._left:
            with contextlib.suppress(queue.Empty):
                # a wait without an end cannot be interrupted on Windows
                done = self._done.get(timeout=0.5)
                self._left -= 1
                yield done

    def _serve(self, number: int) -> None:
        """Give a process one job after the other; a dead one is replaced for the next."""
        process, said = None, None
        try:
            while (job := self._waiting.get()) is not None and not self._closed:
                begin = time.perf_counter()
                if process is None or said is None:
                    said = tempfile.TemporaryFile()  # noqa: SIM115
                    try:
                        process = self._running[number] = self._started(said)
                    except OSError as error:
                        self._done.put(Done(job, None, f"no process could be started: {error}", 0))
                        continue
                    if self._closed:
                        break
                answer = _asked(process, job)
                seconds = time.perf_counter() - begin
                if answer is None:
                    text = _ending(process, said)
                    process = None
                    self._done.put(Done(job, None, text, seconds))
                else:
                    self._done.put(Done(job, answer["code"], answer["text"], seconds))
        finally:
            if process is not None and said is not None:
                process.kill()
                _ending(process, said)

    def _started(self, said: IO[bytes]) -> subprocess.Popen:
        return subprocess.Popen(
            # -P: a file of the working directory must not stand in for a module
            [
                sys.executable,
                "-P",
                "-X",
                "faulthandler",
                "-m",
                "coincide.cohort.worker",
                self.entry,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=self.environment,
            encoding="ascii",
        )


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; it knows of containers and batch systems
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _asked(process: subprocess.Popen, job: Job) -> dict | None:
    """Answer of a process to a job; None if it died."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job.arguments) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except OSError:
        return None
    return json.loads(line) if line.endswith("\n") else None


def _ending(process: subprocess.Popen, said: IO[bytes]) -> str:
    """How a process died, in words, and what it said last; its pipes are closed."""
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was not yet written cannot be
            if pipe is not None:
                pipe.close()
    reason = f"its process ended with code {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            reason = f"its process was ended by {signal.Signals(-code).name}"
        if -code == getattr(signal, "SIGKILL", None):
            reason += ", as systems do that run out of memory; give fewer --jobs or smaller images"
    said.seek(0)
    tail = said.read().decode(errors="replace")[-TAIL:].strip()
    said.close()
    return f"{reason}\n{tail}".strip()

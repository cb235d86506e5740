"""Measure: run a program and see from outside what it took."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

# every library's way to say how many threads it may use
THREADS = (
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


@dataclass(frozen=True)
class Usage:
    """What a program took.

    Args:
        wall: Seconds from start to end, loading of libraries and writing included.
        cpu: Seconds of processor time, all threads together.
        peak: Largest resident memory, GB.
        failure: Why it failed; empty: it did not.
    """

    wall: float
    cpu: float
    peak: float
    failure: str


def measure(command: list[str], folder: Path, log: Path, *, threads: int, limit: float) -> Usage:
    """Run a command to its end.

    Args:
        command: Program and arguments, with whole paths.
        folder: Where it runs; some leave files there.
        log: File for what it prints.
        threads: How many it may use.
        limit: It is ended after this many seconds.
    """
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "CUDA_VISIBLE_DEVICES": ""}
    start = time.perf_counter()
    with log.open("w") as stream:
        child = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, env=environment)
        late = False
        try:
            while True:
                done, status, used = os.wait4(child.pid, os.WNOHANG)
                if done:
                    break
                if not late and time.perf_counter() - start > limit:
                    late = True
                    child.kill()
                time.sleep(0.02)
        except KeyboardInterrupt:
            child.kill()
            raise
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    failure = f"longer than {limit:g} s" if late else _failure(child.returncode, log)
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * PEAK_UNIT / 1e9, failure)


def _failure(code: int, log: Path) -> str:
    if code == 0:
        return ""
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "no message")
    return f"signal {-code}: {last}" if code < 0 else last

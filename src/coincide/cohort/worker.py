"""Worker: a process that runs one job after the other, each given as a line of JSON.

    python -P -m coincide.cohort.worker MODULE:FUNCTION

A line of its input is a list of arguments; the line that answers says the exit code and what was
printed. What the job itself prints cannot get between the answers.
"""

import contextlib
import gc
import io
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module


def main(entry: str) -> None:
    """Serve until the input ends."""
    # whatever writes to the output of the process, libraries in C included, goes to stderr
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    # Ctrl-C reaches every process of a terminal; the one that started this decides what ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    module, _, name = entry.partition(":")
    function = getattr(import_module(module), name)
    while True:
        code, text = ended(function, json.loads(jobs.get()))
        answers.write(json.dumps({"code": code, "text": text}) + "\n")
        answers.flush()


def ended(function: Callable, arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code of a call and all that it printed."""
    said = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            function(arguments)
        except SystemExit as end:
            code = end.code or 0
        except Exception:
            traceback.print_exc()
            code = 3
    # the program freezes what was imported, for speed; in a process that goes on this would keep
    # the images of every job in a reference cycle for good
    gc.unfreeze()
    gc.collect()
    return (code if isinstance(code, int) else 1), said.getvalue()


def _listen(jobs: "queue.SimpleQueue[str]") -> None:
    """Pass on the lines; end at once with the process that writes them, even if it was killed."""
    for line in sys.stdin:
        jobs.put(line)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])

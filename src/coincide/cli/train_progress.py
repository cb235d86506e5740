"""Progress of a training in a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from coincide.optimisers.progress import QUIET
from coincide.training.loop import Progress

TOLD = 30.0  # seconds between lines where there is no terminal


@contextmanager
def watched() -> Iterator[Callable[[Progress], None]]:
    """Show the steps: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal or QUIET.get():
        told = [0.0]

        def tell(progress: Progress) -> None:
            if progress.validated or time.monotonic() - told[0] > TOLD:
                told[0] = time.monotonic()
                print(_line(progress), file=sys.stderr, flush=True)

        yield (lambda _: None) if QUIET.get() else tell
        return
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("training", total=None)

        def show(progress: Progress) -> None:
            total = progress.steps or None
            bar.update(task, completed=progress.step, total=total, description=_line(progress))

        yield show


def _line(progress: Progress) -> str:
    """Such as `step 1200 of 20000: loss 2.31, told apart 0.12; about 41 min left`."""
    numbers = ", ".join(f"{name} {value:.3g}" for name, value in progress.numbers.items())
    of = f" of {progress.steps}" if progress.steps else ""
    left = f"; about {progress.left / 60:.0f} min left" if progress.steps else ""
    return f"step {progress.step}{of}: {numbers}{left}"

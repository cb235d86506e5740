"""Progress: one line on a terminal or in a notebook while steps are made; one log entry a level.

The logger `coincide` tells at the level INFO how every level ended.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from coincide.registration import Step

QUIET: ContextVar[bool] = ContextVar("quiet", default=False)  # of this thread: no line is shown

log = logging.getLogger("coincide")


@dataclass
class Told:
    """Passes steps on, and logs the last of every level.

    Args:
        show: Called with every step.
        last: The step before.
    """

    show: Callable[[Step], None]
    last: Step | None = None

    def __call__(self, step: Step) -> None:
        """Take the next step."""
        last = self.last
        if last is not None and (last.stage, last.level) != (step.stage, step.level):
            self.end()
        self.last = step
        self.show(step)

    def end(self) -> None:
        """Log the level that has ended."""
        if self.last is not None:
            step, self.last = self.last, None
            done = step.stage, step.level, step.step + 1, step.cost
            log.info("%s, level %d: %d steps, cost %.4f", *done)


@contextmanager
def progress() -> Iterator[Callable[[Step], None]]:
    """Yield a function to be called with every step."""
    console = Console(stderr=True)
    # without ipywidgets rich warns in a notebook and shows nothing
    notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    if QUIET.get() or not (console.is_terminal or notebook):
        told = Told(lambda _: None)
        yield told
        told.end()
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking at the images")

        def show(step: Step) -> None:
            text = f"{step.stage}, level {step.level}, step {step.step + 1}, cost {step.cost:.4f}"
            bar.update(task, description=text)

        told = Told(show)
        yield told
        told.end()

"""Progress: one line on the terminal while steps are made; silent elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from coincide.registration import Step


@contextmanager
def progress() -> Iterator[Callable[[Step], None]]:
    """Yield a function to be called with every step."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking at the images")

        def show(step: Step) -> None:
            text = f"{step.stage}, level {step.level}, step {step.step + 1}, cost {step.cost:.4f}"
            bar.update(task, description=text)

        yield show

"""coincide train."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from tyro.conf import Positional, arg

from coincide.files.atomic import atomic
from coincide.networks.model_file import model_bytes
from coincide.optimisers.progress import QUIET
from coincide.training.aligned import aligned_images
from coincide.training.images import grey_images
from coincide.training.loop import CURVES, Progress, Schedule, read_curves
from coincide.training.loop import train as run
from coincide.training.metric import MetricRecipe, MetricTask
from coincide.training.report import write_training_report
from coincide.training.structural import Recipe, StructuralTask

TOLD = 30.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class TrainOptions:
    """How it is trained.

    Args:
        images: Images, or folders of images, that views are also taken from.
        steps: Updates of the weights.
        minutes: Time instead of steps.
        seed: Of the weights and of everything that is seen.
        rate: Largest learning rate.
        precision: Numbers of the network: bfloat16 is faster where the processor knows it.
        device: cpu or cuda.
    """

    images: Annotated[tuple[Path, ...], arg(metavar="PATH")] = ()
    steps: int = 20_000
    minutes: float = 0.0
    seed: int = 0
    rate: float = 7e-4
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"


def train(
    what: Annotated[Positional[Literal["structural", "metric"]], arg(metavar="WHAT")],
    out: Annotated[Path, arg(metavar="FILE")],
    options: Annotated[TrainOptions, arg(name="")],
    work: Annotated[Path | None, arg(metavar="FOLDER")] = None,
) -> None:
    """Train a network and write its weights, with what they were made from, into one file.

    `structural`: features that are alike whatever the contrast, from random shapes alone; images
    may be added, without labels and without partners. It may be stopped at any time, even killed;
    the same command goes on where it was.

    `metric`: a similarity, `learned_metric`, from a few aligned pairs of two modalities: two
    folders, whose images belong together in the order of their names and lie on one grid, pair by
    pair. Every fifth pair is kept back to tell how good it is. Without images it learns from random
    shapes in random contrasts.

        coincide train structural --out structural.safetensors --steps 20000
        coincide train structural --out mine.safetensors --images my_scans --minutes 60
        coincide train metric --out metric.safetensors --images t1_folder t2_folder --minutes 10

    Args:
        what: What is trained: structural or metric.
        out: File of weights, .safetensors; a page of curves is written beside it.
        options: How it is trained.
        work: Folder for checkpoints and curves. Without it: beside the file.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, not as {out.name}")
    task = TASKS[what](options)
    schedule = Schedule(
        steps=0 if options.minutes else options.steps,
        minutes=options.minutes,
        rate=options.rate,
        device=options.device,
    )
    folder = work or out.with_name(f"{out.stem}-training")
    begin = time.monotonic()
    with _watched() as watch:
        network = run(task, schedule, folder, watch=watch)
    curves = read_curves(folder / CURVES)
    last = {name: value for name, value in curves[-1].items() if name != "step"}
    card = {
        "made": date.today().isoformat(),
        "version": version("coincide"),
        "steps": int(curves[-1]["step"]),
        "numbers": last,
    }
    with atomic(out) as temporary:
        temporary.write_bytes(model_bytes(network, {**task.card, **card}))
    page = write_training_report(task, network, curves, out.with_suffix(".html"))
    print(f"wrote {out} and {page} after {(time.monotonic() - begin) / 60:.1f} min")


def _structural(options: TrainOptions) -> StructuralTask:
    found, names = grey_images(options.images)
    recipe = Recipe(seed=options.seed, precision=options.precision)
    return StructuralTask(recipe, found, names=names)


def _metric(options: TrainOptions) -> MetricTask:
    if options.precision != "float32":
        raise ValueError(f"a metric is trained in float32, not in {options.precision}")
    found, names = aligned_images(options.images) if options.images else ([], [])
    return MetricTask(MetricRecipe(seed=options.seed), found, names=names)


TASKS = {"structural": _structural, "metric": _metric}


@contextmanager
def _watched() -> Iterator[Callable[[Progress], None]]:
    """Show the steps: a bar on a terminal, else a line now and then."""
    console = Console(stderr=True)
    if not console.is_terminal or QUIET.get():
        told = [0.0]

        def tell(progress: Progress) -> None:
            validated = len(progress.numbers) > 2
            if validated or time.monotonic() - told[0] > TOLD:
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

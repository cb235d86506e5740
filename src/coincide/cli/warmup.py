"""coincide warmup."""

import io
import os
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from itertools import count
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from coincide import kernels
from coincide.alignment import pulled
from coincide.cli.register import RegisterOptions, register
from coincide.files.points import write_points
from coincide.files.write import write_image
from coincide.kernels.compile import cached
from coincide.presets.preset import PRESETS, Preset
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

SHAPES = ((48, 44), (34, 36, 32))
ENOUGH = 10  # steps on a level, after which all that it calls has been called
# beside the presets, what people ask for most: ways, objective, steps
CHOICES = {
    "convex": ("affine >> convex(spacing=12, reach=12, step=6) >> displacement", None, None),
    "velocity": ("affine >> velocity(spacing=4)", None, "4,2"),
    "bspline": ("rigid >> bspline(spacing=12)", "nmi", "4,2"),
    "mind": (None, "mind + mi + ncc + mse + 0.1*bending + 0.1*diffusion", "4,2"),
}


def warmup() -> None:
    """Compile the inner loops for this machine, so that the first registration begins at once.

    Small phantoms of two and three dimensions are registered by every preset, and by parts that are
    often asked for beside them. What is compiled is kept on disk for later runs of this user with
    this version; otherwise the first registration would compile what it needs. A part that is used
    here for the first time may still compile a loop of its own.

        coincide warmup
    """
    begin = time.perf_counter()
    for module in walk_packages(kernels.__path__, "coincide.kernels."):
        if module.name.endswith(".loops"):  # otherwise imported with the first call
            import_module(module.name)
    before, _ = cached()
    console = Console(file=sys.stderr)  # as it is now: what register says is caught below
    columns = (
        TextColumn("compiling for {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        TemporaryDirectory() as place,
        Progress(*columns, console=console, disable=not console.is_terminal) as bar,
    ):
        runs = [run for shape in SHAPES for run in _runs(shape, Path(place))]
        for name, options in bar.track(runs, description=""):
            bar.update(bar.task_ids[0], description=name)
            if not console.is_terminal:
                console.print(f"compiling for {name}")
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                # a page draws what has been computed; it has no loops of its own
                register(options, report=False)
    kept, folders = cached()
    took = time.perf_counter() - begin
    print(f"compiled {kept - before} loops in {took:.0f} s; {kept} are kept in {_common(folders)}")


def _few(preset: Preset) -> str | None:
    """Steps of its levels, none more than is enough."""
    return ",".join(str(min(level.steps, ENOUGH)) for level in preset.levels) or None


def _common(folders: list[Path]) -> Path:
    """The folder that holds them all; Numba keeps them together."""
    return Path(os.path.commonpath(folders))


def _runs(shape: tuple[int, ...], place: Path) -> Iterator[tuple[str, RegisterOptions]]:
    """Registrations that between them call what real ones do."""
    phantom = textured(shape, seed=1, spacing=2.0)
    grid = phantom.image.grid
    bent = smooth_displacement(grid, peak=4, sigma=16, seed=2).requires_grad_(False)
    same = pulled(phantom.image, bent, grid).with_mask(None)
    where = torch.nonzero(phantom.labels.data[0, 0] > 1).numpy()[::97]
    points = grid.to_world(where)
    images = {
        "fixed": phantom.image,
        "same": same,
        "other": remap(same, seed=3, noise=0.01),
        "labels": phantom.labels,
        "mask": phantom.labels.with_data((phantom.labels.data > 0).to(torch.int16)),
    }
    files = {name: str(place / f"{name}{len(shape)}.nii.gz") for name in images}
    for name, image in images.items():
        write_image(image, files[name])
    marked = str(place / f"points{len(shape)}.csv")
    write_points(np.asarray(points), marked)
    numbers = count()

    def out() -> str:
        """A folder that no other run has."""
        return str(place / f"out{len(shape)}-{next(numbers)}")

    which = f"{len(shape)}-D "
    for name, preset in PRESETS.items():
        if name == "cycle":  # calls the loops of idir, twice, and takes long about its inverse
            continue
        if not any(level.objective for level in preset.levels):  # then the contrast decides
            yield (
                which + f"{name}, one contrast",
                RegisterOptions(files["fixed"], files["same"], out(), name),
            )
        yield (
            which + name,
            RegisterOptions(
                *(files["fixed"], files["other"], out(), name),
                steps=_few(preset),
                fixed_labels=files["labels"],
                moving_labels=files["labels"],
                fixed_points=marked,
                moving_points=marked,
                fixed_mask=files["mask"],
                moving_mask=files["mask"],
            ),
        )
    for name, (ways, objective, steps) in CHOICES.items():
        yield (
            which + name,
            RegisterOptions(
                *(files["fixed"], files["other"], out()),
                ways=ways,
                objective=objective,
                steps=steps,
            ),
        )

"""Request: what was asked for, read and checked before anything is run."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.chain import as_ways
from coincide.files.itk import read_transform
from coincide.objective import Objective, Term, absent
from coincide.objective import objective as read_objective
from coincide.optimisers.level import Level
from coincide.optimisers.optimiser import Optimiser
from coincide.presets.preset import Preset, read_ways
from coincide.presets.preset import preset as find_preset
from coincide.registration import Registration
from coincide.registry import Ways, per_level
from coincide.scan import ReadScan, as_scan, content_hash, in_one_numbering
from coincide.settings import SIDES, asked, inputs, key
from coincide.space.grid import Grid
from coincide.transforms.axes import check_axes
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform
from coincide.way import Way

PAIRED = {"labels": "labels", "landmarks": "points"}  # a term, and what of a scan it compares


@dataclass(frozen=True, eq=False)
class Request:
    """A registration that could begin.

    Args:
        fixed: What belongs to the image that stays.
        moving: What belongs to the image that is mapped.
        plan: The preset, overruled.
        parts: What is done, as it was given.
        ways: The same, each ready to run.
        start: Where the first begins; None: nothing is known.
        device: Where a deformation is worked on.
        preset: As it was given.
        initial: As it was given.
        on: Device, as it was given.
        inputs: What the pair was read from; see `settings.inputs`.
        asked: All of it as text; see `settings.asked`.
        notes: What was odd about the input, one sentence each.
        seconds: Wall time of the reading.
    """

    fixed: ReadScan
    moving: ReadScan
    plan: Preset
    parts: Ways
    ways: tuple[Way, ...]
    start: Transform | None
    device: torch.device
    preset: Any
    initial: Any
    on: str
    inputs: dict[str, Any]
    asked: dict[str, Any]
    notes: tuple[str, ...]
    seconds: float

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file that was read, by its key in the settings."""
        found = {
            key(side, kind): value
            for side, scan in zip(SIDES, (self.fixed, self.moving), strict=True)
            for kind, value in scan.hashes.items()
        }
        if isinstance(self.initial, str | Path) and self.initial not in ("search", "header"):
            found["initial"] = content_hash(self.initial)
        return found


def request(
    fixed: Any,
    moving: Any,
    ways: str | Ways | Way | Transform | None = None,
    *,
    objective: str | Objective | Term | Sequence[str | Objective | Term] | None = None,
    optimiser: str | Optimiser | Sequence[str | Optimiser] | None = None,
    preset: str | Path | Preset = "auto",
    initial: str | Path | Transform | Registration = "search",
    device: str = "auto",
) -> Request:
    """Read and check all that `register` takes, which explains the arguments.

    Raises:
        ValueError: if the images cannot be registered like this, saying why and what would work.
    """
    begin = time.perf_counter()
    place = _device(device)
    plan = preset if isinstance(preset, Preset) else find_preset(preset)
    if ways is not None:
        plan = replace(plan, ways=read_ways(ways))
    parts = read_ways(plan.ways)
    # text that cannot be read is refused before images are read, which may take long
    early = None if objective is None else _objectives(objective)
    as_ways(parts, plan.levels, objective=early, optimiser=optimiser)
    pair = as_scan(fixed), as_scan(moving)
    for kind in ("labels", "points"):
        _of_both(kind, pair[0].given.get(kind), pair[1].given.get(kind))
    f, m = pair[0].read("fixed"), pair[1].read("moving")
    m = in_one_numbering(f, pair[1], m)
    notes = [*f.notes, *m.notes]
    _alike(f, m)
    if objective is None:
        levels, used = _completed_levels(plan.levels, f, m)
        steps = as_ways(parts, levels, optimiser=optimiser)
    else:
        targets, used = _completed(_objectives(objective), f, m)
        steps = as_ways(parts, plan.levels, objective=targets, optimiser=optimiser)
    notes += [f"the {term} take part, so their scores flatter" for term in used]
    found = inputs(pair, (f, m))
    return Request(
        fixed=f,
        moving=m,
        plan=plan,
        parts=parts,
        ways=steps,
        start=_start(initial, f.image.grid),
        device=place,
        preset=preset,
        initial=initial,
        on=device,
        inputs=found,
        asked=asked(
            plan,
            inputs=found,
            objective=objective,
            optimiser=optimiser,
            initial=initial,
            device=device,
        ),
        notes=tuple(notes),
        seconds=time.perf_counter() - begin,
    )


def _objectives(given: Any) -> list[Objective]:
    return [read_objective(one) for one in per_level(given)]


def _completed(
    targets: list[Objective], fixed: ReadScan, moving: ReadScan
) -> tuple[list[Objective], list[str]]:
    """The objectives with the label maps and landmarks of the scans, and which terms took them."""
    used = []
    for term, kind in PAIRED.items():
        if any(term in target.absent for target in targets):
            one, other = getattr(fixed, kind), getattr(moving, kind)
            if one is None or other is None:
                raise ValueError(
                    f"the objective has the term {term!r} but was not given the {term} of both "
                    f"images; give them with the images: Scan(image, {kind}=...) in Python, "
                    f"--fixed-{kind} and --moving-{kind} in the terminal"
                )
            targets = [target.with_data(term, one, other) for target in targets]
            used.append(term)
    for target in targets:
        if target.absent:
            raise ValueError(absent(target.absent[0]))
    return targets, used


def _completed_levels(
    levels: Sequence[Level], fixed: ReadScan, moving: ReadScan
) -> tuple[list[Level], list[str]]:
    """The levels of a preset, likewise; those that lack nothing stay as they were written."""
    found: list[Level] = []
    used: dict[str, None] = {}
    for level in levels:
        if level.objective and read_objective(level.objective).absent:
            (target,), names = _completed([read_objective(level.objective)], fixed, moving)
            level = replace(level, objective=target)
            used |= dict.fromkeys(names)
        found.append(level)
    return found, list(used)


def _of_both(kind: str, fixed: Any, moving: Any) -> None:
    if (fixed is None) != (moving is None):
        raise ValueError(
            f"{kind} were given of one image only; give those of both, Scan(image, {kind}=...) in "
            f"Python, --fixed-{kind} and --moving-{kind} in the terminal, or of neither"
        )


def _alike(fixed: ReadScan, moving: ReadScan) -> None:
    f, m = fixed.image, moving.image
    if f.dim != m.dim:
        raise ValueError(
            f"the fixed image has {f.dim} axes and the moving image {m.dim}; give two images of "
            "the same dimension"
        )
    if fixed.points is not None and moving.points is not None:
        shapes = fixed.points.shape, moving.points.shape
        if shapes[0] != shapes[1] or shapes[0][1:] != (f.dim,):
            raise ValueError(
                f"landmarks of shape {shapes[0]} and {shapes[1]} do not pair up; give two of "
                f"(P, {f.dim}) in mm, row by row the same place"
            )
    if f.data.shape[1] != m.data.shape[1]:
        raise ValueError(
            f"the fixed image has {f.data.shape[1]} channels and the moving image "
            f"{m.data.shape[1]}; give as many, in the same order"
        )


def _start(initial: str | Path | Transform | Registration, grid: Grid) -> Transform | None:
    """The transform to begin with, frozen; None: nothing is known."""
    if isinstance(initial, Registration):
        initial = initial.transform
    if initial == "search":
        return None
    if initial == "header":
        return Affine(np.eye(grid.dim + 1))
    if isinstance(initial, str | Path):
        if not Path(initial).is_file():
            raise ValueError(
                f"initial is 'search', 'header', a transform or a file of one; there is no file "
                f"{str(initial)!r}"
            )
        initial = read_transform(initial)
    check_axes(initial, grid.dim, "the initial transform")
    start = copy.deepcopy(initial).requires_grad_(False)
    centre = torch.as_tensor(grid.centre)[None, None]
    try:
        moved = start(centre)
    except RuntimeError as error:
        raise ValueError(
            f"the initial transform cannot move points of {grid.dim} axes: {error}"
        ) from error
    if moved.shape != centre.shape or not bool(moved.isfinite().all()):
        raise ValueError(
            f"the initial transform moves the middle of the fixed image, {grid.centre.tolist()}, "
            f"to {moved.flatten().tolist()}; give one from the fixed to the moving world, in mm"
        )
    return start


def _device(name: str) -> torch.device:
    """The device to deform on."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        here = "auto, cpu, cuda" if torch.cuda.is_available() else "auto, cpu"
        raise ValueError(f"cannot use the device {name!r}; known here: {here}") from None
    return device

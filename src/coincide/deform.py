"""Deform: what comes after the linear map: search, optimise, settle."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from coincide.alignment import pulled
from coincide.initialise.content import Content, closer
from coincide.objective import Objective
from coincide.optimise.compositive import Compositive
from coincide.optimise.loop import optimise
from coincide.optimise.optimiser import Optimiser
from coincide.optimise.settle import unfolded
from coincide.optimise.syn import SyN
from coincide.presets import CALM, Preset
from coincide.registration import Step
from coincide.registry import build
from coincide.search.search import Found, Search
from coincide.space.image import Image
from coincide.space.pyramid import Level, at
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform

COVERED = 0.98  # share of the fixed content that an image covers which needs no mask for its edge
HALF = 0.6  # smoothing of each of two halves, as a share of that of a whole displacement
NEAR = 6.0  # mm around the content of the fixed image that take part
WORKING = 8_000_000  # voxels of the finest level at most


@dataclass(frozen=True, eq=False)
class Deformed:
    """What `deform` returns.

    Args:
        transform: Fixed-world points to points of the fixed world that the linear map takes on.
        history: Every step of search and optimiser.
        status: One sentence for a person.
        seconds: Wall time of each stage.
    """

    transform: Transform
    history: tuple[Step, ...]
    status: str
    seconds: dict[str, float]


def deform(
    contents: tuple[Content, Content],
    linear: Linear,
    plan: Preset,
    *,
    transform: str | Transform,
    objective: Sequence[Objective],
    optimiser: str | Optimiser | Sequence[str | Optimiser] | None,
    device: torch.device,
    watch: Callable[[Step], None],
) -> Deformed:
    """Bend the moving image, brought over by a linear map, until it fits the fixed one.

    Args:
        contents: Content of the fixed and of the moving image.
        linear: Fixed-world to moving-world points.
        plan: Search, optimisers and steps.
        transform: The deformation, a part or text.
        objective: What is minimised; one for all levels, or one for each.
        optimiser: The same; None: those of the plan, or what suits the transform.
        device: Where to optimise.
        watch: Called after every step.

    Raises:
        ValueError: if optimiser and transform do not go together.
    """
    start = time.perf_counter()
    targets = [one.followed_by(linear, device) for one in objective]
    part = build(transform, Transform) if isinstance(transform, str) else transform
    rules = _rules(plan, part, optimiser)
    pair = _working(closer(contents[0], NEAR), contents[1], linear, device)
    seconds: dict[str, float] = {}
    history: tuple[Step, ...] = ()
    status, outer = "", None
    if plan.search:
        first = build(plan.search, Search)(*pair)
        pair, part, outer = _continued(first, pair, part)
        for step in first.history:
            watch(step)
        history, status = first.history, f"search: {first.cost:.3f}; "
        seconds["search"] = time.perf_counter() - start
        start = time.perf_counter()
    levels = _levels(pair[0], plan.steps)
    part = part if levels else part.on(pair[0].grid)
    found = optimise(*pair, part, cost=targets, optimiser=rules, levels=levels, watch=watch)
    deformation = found.transform.to("cpu")
    if isinstance(deformation, Displacement | Symmetric):
        deformation = unfolded(deformation)
    if outer is not None:
        deformation = outer @ deformation
    seconds["deformable"] = time.perf_counter() - start
    return Deformed(deformation, history + found.history, status + found.status, seconds)


def _rules(
    plan: Preset,
    transform: Transform,
    optimiser: str | Optimiser | Sequence[str | Optimiser] | None,
) -> str | Optimiser | Sequence[str | Optimiser]:
    """One optimiser a level: what was given, the preset's, or what suits the transform."""
    if optimiser is not None:
        return optimiser
    if not isinstance(transform, Displacement | Symmetric):
        return "adam(rate=0.2)"
    texts = plan.optimisers or CALM
    first = len(plan.steps) - len(texts)
    rules = [build(texts[max(0, n - first)], Optimiser) for n in range(len(plan.steps))]
    return [_halved(rule) for rule in rules] if isinstance(transform, Symmetric) else rules


def _halved(rule: Optimiser) -> Optimiser:
    """What does to two halves what a rule does to a whole displacement."""
    if not isinstance(rule, Compositive):
        return rule
    return SyN(step=0.5 * rule.step, update=rule.update, field=HALF * rule.field, calm=rule.calm)


def _working(
    fixed: Content, moving: Content, linear: Linear, device: torch.device
) -> tuple[Image, Image]:
    """The fixed image, not too large, and the moving image on its grid by the linear map."""
    image, spacing = fixed.image, 0.0
    while np.prod(image.grid.shrink(image.grid.factors(spacing)).shape) > WORKING:
        spacing = max(spacing, float(image.grid.spacing.min())) * 1.25
    image = at(image, image.grid.shrink(image.grid.factors(spacing)))
    # a finer moving image is smoothed first, so that it does not alias on the working grid
    target = float(np.exp(np.log(image.grid.spacing).mean()))
    own = moving.image.grid
    source = at(moving.image, own.shrink(own.factors(target)))
    warped = pulled(source, linear, image.grid, interpolation="cubic")
    inside = at(fixed.image.with_data(fixed.inside).with_mask(None), image.grid).data > 0.5
    assert warped.mask is not None
    if moving.image.mask is None and float(warped.mask[inside].mean()) > COVERED:
        warped = warped.with_mask(None)
    return image.to(device), warped.to(device)


def _continued(
    found: Found, pair: tuple[Image, Image], part: Transform
) -> tuple[tuple[Image, Image], Transform, Transform | None]:
    """The pair and the start for what follows a search, and the transform that is left outside.

    A displacement goes on from the one found; of another transform the moving image is first seen
    under the one found, which then follows it.
    """
    start = found.transform
    if isinstance(part, Displacement):
        return pair, Displacement(part.spacing, field=start.field, grid=start.grid), None
    warped = pulled(pair[1], start.requires_grad_(False), pair[0].grid, interpolation="cubic")
    return (pair[0], warped), part, unfolded(start.to("cpu"))


def _levels(fixed: Image, steps: tuple[int, ...]) -> tuple[Level, ...]:
    """Levels that halve the voxel size each, down to the fixed image's own."""
    base = fixed.grid.finest
    last = len(steps) - 1
    return tuple(Level(base * 2 ** (last - n), count) for n, count in enumerate(steps))

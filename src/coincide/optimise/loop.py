"""The one loop that optimises a transform, level by level."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from coincide.objective import Objective, Term, objective
from coincide.optimise.optimiser import Optimiser, Problem
from coincide.registration import Step
from coincide.registry import build, every
from coincide.space.image import Image
from coincide.space.pyramid import Level, at
from coincide.transforms.transform import Transform

T = TypeVar("T")
LEVELS = (Level(4, 50), Level(2, 30), Level(1, 15))


@dataclass(frozen=True, eq=False)
class Optimised:
    """What the loop returns.

    Args:
        transform: Fixed-world to moving-world points.
        history: Every step.
        status: One sentence for a person.
        seconds: Wall time.
    """

    transform: Transform
    history: tuple[Step, ...]
    status: str
    seconds: float


def optimise(
    fixed: Image,
    moving: Image,
    transform: Transform | str,
    *,
    cost: Objective | Term | str | Sequence[Objective | Term | str],
    optimiser: Optimiser | str | Sequence[Optimiser | str] = "adam",
    levels: Sequence[Level] = LEVELS,
    stage: str = "deformable",
    watch: Callable[[Step], None] | None = None,
) -> Optimised:
    """Move a transform until the objective stops falling, on each level of a pyramid.

    Args:
        fixed: Image that stays, (B, C, *S).
        moving: Image that is mapped; any grid.
        transform: The start, a part or text such as `"velocity(spacing=4)"`.
        cost: The objective, or text such as `"ngf + 0.1*bending"`; one for all levels, or one for
            each, in text divided by semicolons.
        optimiser: The same.
        levels: Coarse to fine.
        stage: Name under which steps are kept.
        watch: Called after every step.

    Raises:
        ValueError: if a part is unknown, there are not as many as levels, or optimiser and
            transform do not go together.
        FloatingPointError: if the cost becomes infinite or not a number.
    """
    begin = time.perf_counter()
    moved: Transform = build(transform, Transform) if isinstance(transform, str) else transform
    targets = _each([objective(one) for one in every(cost)], levels, "objectives")
    rules = [build(one, Optimiser) if isinstance(one, str) else one for one in every(optimiser)]
    rules = _each(rules, levels, "optimisers")
    history: list[Step] = []
    ended = []
    for number, (level, target, rule) in enumerate(zip(levels, targets, rules, strict=True)):
        grid = fixed.grid.shrink(fixed.grid.factors(level.spacing))
        coarse = at(fixed, grid)
        other = at(moving, moving.grid.shrink(moving.grid.factors(level.spacing)))
        moved = moved.on(grid).to(coarse.data.device)
        run = rule.start(Problem(coarse, other, moved, target))
        costs: list[float] = []
        for count in range(level.steps):
            value, terms = run.step()
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"the cost became {value} at {stage} level {number}, step {count}; "
                    "use a smaller step, or check the images for extreme values"
                )
            costs.append(value)
            history.append(Step(stage, number, count, value, terms))
            if watch is not None:
                watch(history[-1])
            if run.exhausted or converged(costs, level.tolerance, level.window):
                break
        moved = run.finish()
        how = "converged" if len(costs) < level.steps else f"used its {level.steps} steps"
        ended.append(f"level {number} {how}{run.remark and f' ({run.remark})'}")
    status = f"{stage}: {', '.join(ended)}"
    return Optimised(moved, tuple(history), status, time.perf_counter() - begin)


def _each(given: list[T], levels: Sequence[Level], what: str) -> list[T]:
    """One for each level."""
    if len(given) == 1:
        return given * len(levels)
    if len(given) != len(levels):
        raise ValueError(f"{len(given)} {what} for {len(levels)} levels; give one, or one each")
    return given


def converged(costs: Sequence[float], tolerance: float, window: int) -> bool:
    """Whether the last `window` steps gained less than a fraction of what all steps gained."""
    if len(costs) < 2 * window or tolerance <= 0:
        return False
    gained = costs[0] - min(costs)
    return min(costs[:-window]) - min(costs[-window:]) <= tolerance * max(gained, 1e-12)

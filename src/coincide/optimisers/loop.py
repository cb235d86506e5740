"""The one loop that optimises a transform, level by level."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coincide.objective import Objective, Term
from coincide.objective import objective as read_objective
from coincide.optimisers.finest import Finest
from coincide.optimisers.level import Level, halving, overruled
from coincide.optimisers.optimiser import Optimiser, Problem
from coincide.registration import Step
from coincide.registry import build
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.transforms.batch import joined, one_of
from coincide.transforms.siren_conditional import conditional
from coincide.transforms.transform import Transform
from coincide.way import Watch

LEVELS = (Level(4, 50), Level(2, 30), Level(1, 15))


@dataclass(frozen=True, eq=False)
class Optimised:
    """What the loop returns.

    Args:
        transform: Fixed-world to moving-world points.
        history: Every step; of a batch, of one pair after the other.
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
    objective: Objective | Term | str | Sequence[Objective | Term | str] = "",
    optimiser: Optimiser | str | Sequence[Optimiser | str] = "",
    levels: Sequence[Level] = LEVELS,
    outer: Transform | None = None,
    watch: Watch | None = None,
) -> Optimised:
    """Move a transform until the objective stops falling, on each level of a pyramid.

    The pairs of a batch are optimised one after the other, so that none has a say in another's
    steps.

    Args:
        fixed: Image that stays, (B, C, *S).
        moving: Image that is mapped, (B, C, *M); any grid.
        transform: The start, a part or text such as `"velocity(spacing=4)"`; of one pair or of B.
        objective: What is minimised on levels that do not say, or text such as
            `"ngf + 0.1*bending"`; one for all levels, or one for each, in text divided by
            semicolons.
        optimiser: The same; empty: what suits the transform.
        levels: Coarse to fine.
        outer: The transform under which `moving` has been resampled already; see `Alignment`.
        watch: Called after every step.

    Raises:
        ValueError: if a part is unknown, there are not as many as levels, a level has no
            objective, or optimiser and transform do not go together.
        FloatingPointError: if the cost becomes infinite or not a number.
    """
    begin = time.perf_counter()
    moved: Transform = build(transform, Transform) if isinstance(transform, str) else transform
    plan = halving(overruled(levels, objective=objective, optimiser=optimiser), fixed.grid)
    for number, level in enumerate(plan):
        if not level.objective:
            raise ValueError(f"level {number} has no objective; give one, such as 'ngf'")
    plan = [
        replace(
            level,
            objective=read_objective(level.objective),
            optimiser=_rule(level.optimiser or moved.optimiser),
        )
        for level in plan
    ]
    # one image may serve all pairs of a batch
    count = max(len(fixed.data), len(moving.data))
    pairs = [
        _optimised(fixed.pair(b), moving.pair(b), one_of(moved, b, count), plan, outer, watch)
        for b in range(count)
    ]
    whole = joined([transform for transform, _, _ in pairs])
    history = tuple(step for _, steps, _ in pairs for step in steps)
    status = "; ".join(status for _, _, status in pairs)
    return Optimised(whole, history, status, time.perf_counter() - begin)


def _rule(given: Optimiser | str) -> Optimiser:
    return build(given, Optimiser) if isinstance(given, str) else given


def _optimised(
    fixed: Image,
    moving: Image,
    moved: Transform,
    plan: Sequence[Level],
    outer: Transform | None,
    watch: Watch | None,
) -> tuple[Transform, list[Step], str]:
    """One pair: the transform, its steps, and how each level ended."""
    stage = getattr(moved, "name", type(moved).__name__)
    history: list[Step] = []
    ended = []
    assert plan[-1].spacing is not None
    finest = Finest(fixed, moving, plan[-1].spacing)
    for number, level in enumerate(plan):
        assert level.spacing is not None
        grid = fixed.grid.shrink(fixed.grid.factors(level.spacing))
        coarse = at(fixed, grid)
        # on a grid of its own, which only has the voxel size in common
        other = at(moving, moving.grid.shrink(moving.grid.factors(level.spacing)))
        moved = moved.on(grid).to(coarse.data.device)
        assert isinstance(level.objective, Objective)
        assert isinstance(level.optimiser, Optimiser)
        problem = Problem(coarse, other, moved, level.objective, outer, level.steps)
        for _, term in level.objective.similarities:
            if term.pyramid:
                problem.prepared[term] = finest.on(term, grid, other.grid)
        problem.free()  # refuses a transform that cannot be moved
        run = level.optimiser.start(problem)
        if conditional(moved) and not level.optimiser.slides:
            raise ValueError(
                f"{level.optimiser} knows one weight of the penalties, and siren_conditional is "
                "fitted for all; use sampled, or a siren"
            )
        costs: list[float] = []
        for count in range(level.steps):
            value, terms = run.step()
            if not np.isfinite(value):
                raise FloatingPointError(
                    f"the cost became {value} at {stage} level {number}, step {count}; "
                    "use a smaller step, or check the images for extreme values"
                )
            # the cost before the step: that after the last one of a level is never computed
            costs.append(value)
            history.append(Step(stage, number, count, value, terms))
            if watch is not None:
                watch(history[-1])
            judged = medians(costs, level.window) if run.noisy else costs
            window = 2 if run.noisy else level.window
            settled = not run.planned and converged(judged, level.tolerance, window)
            if run.stalled or settled:
                break
        moved = run.finish()
        how = "converged" if len(costs) < level.steps else f"used its {level.steps} steps"
        ended.append(f"level {number} {how}{run.note and f' ({run.note})'}")
    return moved, history, f"{stage}: {', '.join(ended)}"


def converged(costs: Sequence[float], tolerance: float, window: int) -> bool:
    """Whether the last `window` steps gained less than a fraction of what all steps gained."""
    # there must be at least one window to compare the last one with
    if len(costs) < 2 * window or tolerance <= 0:
        return False
    gained = costs[0] - min(costs)
    # least costs, as steps of a fixed length make the cost rise now and then
    return min(costs[:-window]) - min(costs[-window:]) <= tolerance * max(gained, 1e-12)


def medians(costs: Sequence[float], window: int) -> list[float]:
    """Median of every `window` costs, one after the other; of noisy ones a fair account."""
    whole = len(costs) // window * window
    return np.median(np.reshape(costs[:whole], (-1, window)), 1).tolist()

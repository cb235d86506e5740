"""Level: one voxel size of a registration from coarse to fine, and what is done there."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from coincide.objective import Objective, Term
from coincide.optimisers.optimiser import Optimiser
from coincide.registry import named, per_level, positive
from coincide.space.grid import Grid


@named("level")
@dataclass(frozen=True)
class Level:
    """One level of a pyramid, coarse to fine.

    Args:
        spacing: Voxel size, mm; no axis is made finer than it is (0: as the image is). None: twice
            that of the next level, the last as the image is.
        steps: Largest number of optimiser steps.
        tolerance: Stop when the cost, over the last `window` steps, falls by less than this
            fraction of what it has fallen on this level; 0: never stop early. Optimisers that plan
            their steps to the last, `sampled` and `cycle_sampled`, make all of them.
        window: Steps over which that is judged.
        objective: What is minimised, text or object; empty: that of the other levels' caller.
        optimiser: What makes the steps, text or object; empty: the same.

    Raises:
        ValueError: if no step may be made.
    """

    spacing: float | None = None
    steps: int = 30
    tolerance: float = 0.01
    window: int = 10
    objective: str | Objective | Term = ""
    optimiser: str | Optimiser = ""

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"each level takes 1 step or more, not {self.steps}")
        positive(self, "window")
        positive(self, "tolerance", zero=True)
        if self.spacing is not None:
            positive(self, "spacing", zero=True)

    def __str__(self) -> str:
        given = [f"{name}={value!r}" for name, value in self.settings().items()]
        return f"level({', '.join(given)})"

    def settings(self) -> dict[str, Any]:
        """What is not the default, numbers and text, as it is written to files."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            # an objective or optimiser given as an object is written as its text
            plain = value if isinstance(value, int | float | None) else str(value)
            if field.name == "steps" or plain != field.default:
                found[field.name] = plain
        return found


def halving(levels: Sequence[Level], grid: Grid) -> list[Level]:
    """The levels with every voxel size, mm; where it was None, twice that of the next level."""
    # half, so that the last level, if it does not say, is as fine as the image
    spacing, found = grid.finest / 2, []
    for level in reversed(levels):
        spacing = 2 * spacing if level.spacing is None else level.spacing
        found.append(replace(level, spacing=spacing))
    return found[::-1]


def filled(levels: Sequence[Level], others: Sequence[Level]) -> tuple[Level, ...]:
    """Levels whose gaps are filled from others, counted from the finest; without any, the others.

    Args:
        levels: Coarse to fine, each perhaps without objective or optimiser.
        others: What to fill in; where there are fewer, the coarsest serves the coarser.
    """
    if not levels:
        return tuple(others)
    # counted from the finest, as that is what two pyramids of different height share
    behind = len(others) - len(levels)
    return tuple(
        replace(
            level,
            objective=level.objective or others[max(0, n + behind)].objective,
            optimiser=level.optimiser or others[max(0, n + behind)].optimiser,
        )
        for n, level in enumerate(levels)
    )


def overruled(levels: Sequence[Level], *, objective: Any, optimiser: Any) -> tuple[Level, ...]:
    """The levels with another objective or optimiser, where one is given.

    Args:
        levels: Coarse to fine.
        objective: One for all, or one for each: a sequence, or text divided by semicolons.
        optimiser: The same.

    Raises:
        ValueError: if there are not as many as levels.
    """
    for name, given in (("objective", objective), ("optimiser", optimiser)):
        if given is not None and given != "":
            chosen = each(given, len(levels), f"{name}s")
            pairs = zip(levels, chosen, strict=True)
            levels = [replace(level, **{name: one}) for level, one in pairs]
    return tuple(levels)


def each(given: Any, count: int, what: str) -> list[Any]:
    """What is given, one for each of `count` levels.

    Raises:
        ValueError: if there are neither one nor `count`.
    """
    found = per_level(given)
    if len(found) == 1:
        return found * count
    if len(found) != count:
        raise ValueError(f"{len(found)} {what} for {count} levels; give one, or one each")
    return found

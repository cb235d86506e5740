"""Chain: ways one after the other."""

from collections.abc import Sequence
from typing import Any

from coincide.auto import Auto, suited
from coincide.initialise.align import Align
from coincide.optimisers.level import Level, filled, overruled
from coincide.optimisers.optimise import Optimise, made
from coincide.optimisers.settle import unfolded
from coincide.registry import Ways
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform
from coincide.way import Found, Pair, Watch, Way


def chain(
    pair: Pair,
    ways: Sequence[Way],
    *,
    start: Transform | None = None,
    watch: Watch | None = None,
) -> tuple[Transform, tuple[Found, ...]]:
    """Each way goes on from what was found before, or begins anew on top of it.

    Where a way cannot refine what was found, that is frozen: the moving image is resampled under
    it, once, and what the way finds acts on points before it. Of a composite only the last
    transform, which acts first, can be refined; the others are frozen.

    Args:
        pair: The two images.
        ways: First to last.
        start: Fixed-world to moving-world points, where the first way begins; None: nothing is
            known.
        watch: Called after every step.

    Returns:
        Fixed-world to moving-world points, and what every way found.
    """
    founds = []
    held = start
    for way in ways:
        begin = None
        if held is not None:
            rest, inner = _last(held)
            # only what acts first: the others lie between it and the moving image
            if way.refines(inner):
                pair, begin = pair if rest is None else pair.under(rest), inner
            else:
                # a start that was given is taken as it is; what a way has found is mended first
                pair = pair.under(unfolded(held) if founds else held)
        found = way(pair, begin, watch)
        founds.append(found)
        held = found.transform
    assert held is not None
    last = unfolded(held)
    return (last if pair.outer is None else pair.outer @ last), tuple(founds)


def as_ways(
    parts: Ways, levels: Sequence[Level], *, objective: Any = None, optimiser: Any = None
) -> tuple[Way, ...]:
    """What to do for each part of a chain; a transform alone is aligned if linear, else optimised.

    Args:
        parts: Ways and transforms.
        levels: For transforms that are optimised, coarse to fine; empty, or without an objective:
            decided by looking at the pair.
        objective: What is minimised instead; None: what the levels say.
        optimiser: What makes the steps instead; the same.

    Raises:
        ValueError: if a transform holds values already, or nothing is optimised that objective and
            optimiser could be for.
    """
    ways = tuple(_way(part, levels, objective, optimiser) for part in parts)
    for name, given in (("objective", objective), ("optimiser", optimiser)):
        if given is not None and not any(
            isinstance(part, Transform) and not isinstance(part, Linear) for part in parts
        ):
            raise ValueError(
                f"an {name} is that of a deformation, and {str(parts)!r} optimises none; add one, "
                f"such as '{parts} >> displacement', or for a linear map see coincide.optimise"
            )
    return ways


def _way(part: Any, levels: Sequence[Level], objective: Any, optimiser: Any) -> Way:
    if isinstance(part, Way):
        return part
    part = made(part)
    if isinstance(part, Linear):
        return Align(part.name)
    levels = suited(levels, part)
    if levels:
        levels = overruled(levels, objective=objective, optimiser=optimiser)
    if levels and all(level.objective for level in levels):
        return Optimise(part, filled(levels, [Level(optimiser=part.optimiser)]))
    return Auto(part, levels, objective or "", optimiser or "")


def _last(transform: Transform) -> tuple[Transform | None, Transform]:
    """What acts later, and what acts first."""
    if not isinstance(transform, Composite):
        return None, transform
    *rest, inner = transform
    return (Composite(rest) if rest else None), inner

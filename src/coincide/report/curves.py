"""Curves: how the cost fell, one small drawing for each level of each stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from coincide.registration import Step

WIDTH, HEIGHT, INSET = 220.0, 84.0, 6.0


@dataclass(frozen=True)
class Curve:
    """The cost over the steps of one level.

    Args:
        stage: Part of the registration.
        level: Pyramid level, 0 the coarsest.
        steps: How many updates.
        first: Cost of the first step.
        last: Cost of the last step.
        terms: Name, first and last value of every term.
        svg: The drawing; empty for the rounds of a search, whose costs are not one curve.
    """

    stage: str
    level: int
    steps: int
    first: float
    last: float
    terms: tuple[tuple[str, float, float], ...]
    svg: str


def curves(history: Sequence[Step]) -> list[Curve]:
    """A curve for each run of steps of one stage and level, in order."""
    result = []
    for (stage, level), group in groupby(history, key=lambda step: (step.stage, step.level)):
        steps = list(group)
        first, last = steps[0], steps[-1]
        result.append(
            Curve(
                stage,
                level,
                len(steps),
                first.cost,
                last.cost,
                tuple(
                    (name, first.terms.get(name, value), value)
                    for name, value in last.terms.items()
                ),
                ""
                if searched(steps)
                else drawn([step.cost for step in steps], f"cost of {stage}, level {level}"),
            )
        )
    return result


def searched(steps: Sequence[Step]) -> bool:
    """Whether these are rounds of a search rather than steps of an optimisation.

    A round of a coupled search weighs the smoothness more than the one before: its cost rises
    although nothing got worse, and a line through them would say the opposite of what happened.
    """
    return not any(step.terms for step in steps)


def drawn(costs: Sequence[float], title: str) -> str:
    """A line through the costs as SVG, at most one point for each unit of its width."""
    values = np.asarray(costs, np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    span = high - low or 1.0
    x = INSET + (WIDTH - 2 * INSET) * np.arange(len(values)) / max(1, len(values) - 1)
    y = HEIGHT - INSET - (HEIGHT - 2 * INSET) * (values - low) / span
    keep = np.isfinite(y)
    keep &= np.arange(len(values)) % max(1, len(values) // int(WIDTH)) == 0
    keep[-1:] = np.isfinite(y[-1:])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[keep], y[keep], strict=True))
    end = ""
    if len(values) and np.isfinite(y[-1]):
        end = f'<circle cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="3"/>'
    return (
        f'<svg class="curve" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escaped(title)}: from {costs[0]:.4g} to {costs[-1]:.4g}">'
        f'<polyline points="{points}"/>{end}</svg>'
    )


def escaped(text: str) -> str:
    """Text that may stand in an attribute."""
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, entity)
    return text

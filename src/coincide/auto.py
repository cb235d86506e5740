"""Auto: a way that looks at the pair and decides how to optimise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coincide.initialise.contrast import same_contrast
from coincide.optimisers.level import Level, filled, overruled
from coincide.optimisers.optimise import Optimise, continued, made
from coincide.optimisers.optimiser import Optimiser
from coincide.presets.preset import PRESETS
from coincide.registry import build, named
from coincide.transforms.transform import Transform
from coincide.way import Found, Pair, Watch, Way

SMALL = 60  # voxels along an axis, on average, below which every detail counts


@named("auto")
@dataclass(frozen=True)
class Auto(Way):
    """Optimise with the levels of a preset: chosen by size, and by whether the contrasts agree.

    Few voxels take those of `small`; else one contrast those of `brain-mr`, two those of
    `brain-multimodal`.

    Args:
        transform: What is moved, a part or text.
        levels: What is known of the levels already; empty: nothing.
        objective: What is minimised instead, one for all levels or one for each; empty: as chosen.
        optimiser: What makes the steps instead; the same.
    """

    transform: str | Transform = "displacement"
    levels: tuple[Level, ...] = ()
    objective: Any = ""
    optimiser: Any = ""

    def refines(self, start: Transform) -> bool:
        """As `Optimise` does."""
        return continued(start, made(self.transform))

    def __call__(
        self, pair: Pair, start: Transform | None = None, watch: Watch | None = None
    ) -> Found:
        """Decide, then optimise; what was found says by which way."""
        chosen = suited(PRESETS[chosen_for(pair)].levels, made(self.transform))
        levels = overruled(
            filled(self.levels, chosen), objective=self.objective, optimiser=self.optimiser
        )
        return Optimise(self.transform, levels)(pair, start, watch)


def chosen_for(pair: Pair) -> str:
    """Name of the preset that suits a pair under what has been found."""
    if np.prod(pair.fixed.image.grid.shape) < SMALL**pair.fixed.image.dim:
        return "small"
    return "brain-mr" if same_contrast(pair.fixed.image, pair.overlap) else "brain-multimodal"


def suited(levels: Sequence[Level], transform: Transform) -> tuple[Level, ...]:
    """The levels of a preset with optimisers that can move such a transform."""
    found = []
    for level in levels:
        rule = level.optimiser
        rule = build(rule, Optimiser) if rule and isinstance(rule, str) else rule
        # a rule that suits the transform answers with itself
        if isinstance(rule, Optimiser) and (other := rule.suited(transform)) is not rule:
            level = replace(level, optimiser=str(other or transform.optimiser))
        found.append(level)
    return tuple(found)

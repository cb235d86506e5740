"""L-BFGS: quasi-Newton steps with a backtracking search, for few parameters and smooth costs."""

import math
from dataclasses import dataclass

from torch import Tensor

from coincide.optimisers.line_search import Landscape, backtrack
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.transforms.transform import Transform


@named("lbfgs")
@dataclass(frozen=True)
class LBFGS(Optimiser):
    """Limited-memory BFGS; most steps cost one evaluation.

    A step is halved (by quadratic interpolation) until the cost falls enough; pairs without
    positive curvature are forgotten.

    Args:
        first: Length of the first trial step, mm (> 0).
        longest: Length that no step exceeds, mm; far away a cost may be low by chance.
        memory: Number of past steps that shape the next (1 or more).

    References:
        Liu, Nocedal (1989), doi:10.1007/BF01589116.
    """

    first: float = 1.0
    longest: float = math.inf
    memory: int = 10

    def start(self, problem: Problem) -> "LBFGSRun":
        """Begin on a level."""
        return LBFGSRun(self, problem)


class LBFGSRun(Run):
    """State of `LBFGS`: the last place, and pairs of (move, change of gradient)."""

    def __init__(self, rule: LBFGS, problem: Problem):
        self.rule, self.problem = rule, problem
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.landscape = Landscape(problem.transform, problem.cost)
        self.here = self.landscape.here()

    def step(self) -> tuple[float, dict[str, float]]:
        """One search along the quasi-Newton direction."""
        here = self.here
        direction = -self._curved(here.gradient)
        # uphill: what is remembered no longer fits the place
        if float(here.gradient @ direction) >= 0:
            self.pairs, direction = [], -here.gradient
        size = float(direction.norm())
        if size < 1e-12:
            self.stalled = True
            return here.cost, here.values
        # a quasi-Newton direction knows its length, a gradient does not
        length = 1.0 if self.pairs else self.rule.first / size
        found = backtrack(self.landscape, here, direction, min(length, self.rule.longest / size))
        if found.place is None:
            # along a bad direction start afresh, along the gradient itself stop
            self.stalled = found.flat or not self.pairs
            self.pairs = []
        else:
            self._remember(found.place.point - here.point, found.place.gradient - here.gradient)
            self.here = found.place
        return here.cost, here.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.landscape.move(self.here.point)
        return self.problem.transform

    def _remember(self, move: Tensor, change: Tensor) -> None:
        # without positive curvature the remembered matrix would lead uphill
        if float(move @ change) > 1e-10 * float(move.norm() * change.norm()):
            self.pairs = [*self.pairs, (move, change)][-self.rule.memory :]

    def _curved(self, gradient: Tensor) -> Tensor:
        weights = []
        # Nocedal's two loops: from the newest pair back to the oldest, and forth again
        for move, change in reversed(self.pairs):
            weight = (move @ gradient) / (move @ change)
            gradient = gradient - weight * change
            weights.append(weight)
        if self.pairs:
            move, change = self.pairs[-1]
            # begun with the identity over the curvature seen in the last step
            gradient = gradient * (move @ change) / (change @ change)
        # oldest first, and `weights` began with the newest
        for (move, change), weight in zip(self.pairs, reversed(weights), strict=True):
            gradient = gradient + move * (weight - (change @ gradient) / (move @ change))
        return gradient

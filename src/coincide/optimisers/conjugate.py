"""Nonlinear conjugate gradient: steepest descent that remembers where it came from."""

import math
from dataclasses import dataclass

from coincide.optimisers.line_search import Landscape, backtrack, remembered, sharpened
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.transforms.transform import Transform

ORTHOGONAL = 0.5  # share of one gradient in the next above which directions have lost their sense


@named("conjugate")
@dataclass(frozen=True)
class Conjugate(Optimiser):
    r"""Conjugate gradient after Polak and Ribière, for many parameters and little memory.

    $$
    d_k = -g_k + \beta_k d_{k-1}, \qquad
    \beta_k = \max\Big(0, \frac{g_k \cdot (g_k - g_{k-1})}{g_{k-1} \cdot g_{k-1}}\Big)
    $$

    It starts afresh along the gradient where $d_k$ does not lead downhill, where successive
    gradients are far from orthogonal, and where a search finds nothing.

    Args:
        first: Most that any parameter moves in the first trial step, mm (> 0).
        longest: Most that any parameter moves in any step, mm.

    References:
        Polak, Ribière (1969), doi:10.1051/m2an/196903R100351;
        Powell (1977), doi:10.1007/BF01593790, on when to start afresh.
    """

    first: float = 1.0
    longest: float = math.inf

    def start(self, problem: Problem) -> "ConjugateRun":
        """Begin on a level."""
        return ConjugateRun(self, problem)


class ConjugateRun(Run):
    """State of `Conjugate`: the last place, the direction from there, and its first length."""

    def __init__(self, rule: Conjugate, problem: Problem):
        self.rule, self.problem = rule, problem
        self.landscape = Landscape(problem.transform, problem.cost)
        self.here = self.landscape.here()
        self.direction = -self.here.gradient
        self.fresh = True
        self.length = 0.0

    def step(self) -> tuple[float, dict[str, float]]:
        """One search along the conjugate direction."""
        here, direction = self.here, self.direction
        steepest = max(float(direction.abs().max()), 1e-30)
        most = self.rule.longest / steepest
        length = min(self.length or self.rule.first / steepest, most)
        found = backtrack(self.landscape, here, direction, length)
        if found.place is None:
            # nothing was found along the gradient itself, so there is nothing left to find
            self.stalled = self.fresh
            self.direction, self.fresh, self.length = -here.gradient, True, 0.0
            return here.cost, here.values
        found = sharpened(self.landscape, here, direction, found, most=most)
        assert found.place is not None
        self.here = found.place
        old, new = here.gradient, found.place.gradient
        # never below zero: then it starts afresh by itself (Polak and Ribière's +)
        share = max(0.0, float(new @ (new - old)) / max(float(old @ old), 1e-300))
        conjugate = share * direction - new
        # Powell's test: successive gradients of a quadratic are orthogonal
        lost = abs(float(new @ old)) > ORTHOGONAL * float(new @ new)
        self.fresh = lost or float(new @ conjugate) >= 0
        self.direction = -new if self.fresh else conjugate
        # the next search promises as much as this one
        self.length = remembered(here, direction, found)
        self.length *= float(old @ direction) / min(float(new @ self.direction), -1e-300)
        return here.cost, here.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.landscape.move(self.here.point)
        return self.problem.transform

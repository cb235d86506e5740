"""Gradient descent with a line search."""

import math
from dataclasses import dataclass

from coincide.optimisers.line_search import Landscape, backtrack, remembered
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.transforms.transform import Transform


@named("descent")
@dataclass(frozen=True)
class Descent(Optimiser):
    r"""Steepest descent: every step goes straight downhill and the cost never rises.

    $$\theta \leftarrow \theta - \alpha\, \nabla C(\theta)$$

    A step is shortened until the cost falls enough. The next begins with the length
    $\alpha$ at which the slope along this one would have vanished.

    Args:
        first: Most that any parameter moves in the first trial step, mm (> 0).
        longest: Most that any parameter moves in any step, mm.

    References:
        Armijo (1966), doi:10.2140/pjm.1966.16.1;
        Barzilai, Borwein (1988), doi:10.1093/imanum/8.1.141.
    """

    first: float = 1.0
    longest: float = math.inf

    def start(self, problem: Problem) -> "DescentRun":
        """Begin on a level."""
        return DescentRun(self, problem)


class DescentRun(Run):
    """State of `Descent`: the last place, and the length of the next step."""

    def __init__(self, rule: Descent, problem: Problem):
        self.rule, self.problem = rule, problem
        self.landscape = Landscape(problem.transform, problem.cost)
        self.here = self.landscape.here()
        self.length = 0.0

    def step(self) -> tuple[float, dict[str, float]]:
        """One search along the gradient."""
        here = self.here
        steepest = float(here.gradient.abs().max())
        # by the steepest parameter, so that `first` is the most that any of them moves
        length = self.length or self.rule.first / max(steepest, 1e-30)
        length = min(length, self.rule.longest / max(steepest, 1e-30))
        found = backtrack(self.landscape, here, -here.gradient, length)
        if found.place is None:
            self.stalled = True
        else:
            self.length, self.here = remembered(here, -here.gradient, found), found.place
        return here.cost, here.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.landscape.move(self.here.point)
        return self.problem.transform

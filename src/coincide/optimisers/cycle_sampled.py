"""Cycle sampled: two networks, one each way, on random points of both images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.optimisers.annealed import Annealed
from coincide.optimisers.both_ways import Agreement, BothWays
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named, positive
from coincide.transforms.cycle import Cycle
from coincide.transforms.transform import Transform


@named("cycle_sampled")
@dataclass(frozen=True)
class CycleSampled(Optimiser):
    r"""Descent for a `cycle`: both maps fit the images, and each must undo the other.

    $$
    L = \tfrac12 \big( S_F + w R_F + S_B + w R_B \big) + \tfrac{\beta}{2}
        \Big( \overline{\lVert B(F(x)) - x \rVert^2} + \overline{\lVert F(B(y)) - y \rVert^2} \Big)
        + \tfrac{\gamma}{2} \Big( \overline{\lVert \nabla (B \circ F)(x) - I \rVert^2}
        + \overline{\lVert \nabla (F \circ B)(y) - I \rVert^2} \Big)
    $$

    Points x are drawn in the mask of the fixed, y in that of the moving image, otherwise as in
    `sampled`. How far the two still disagree when a level ends, on average over the fixed mask, is
    told in the status: it is the score by which a failed fit is known.

    Args:
        points: Where the images are compared in a step, in each direction (1 or more).
        regularised: Where penalties are asked, in each direction; 0: at the same points.
        rate: Length of a typical step of one weight (no unit, > 0).
        beta: Weight of the squared distance by which there and back again misses, 1/mm² (0 or
            more).
        gamma: Weight of the squared gradient of that distance, which also keeps both smooth and
            without folds; asked where penalties are (no unit, 0 or more).
        seed: Which points are drawn.

    References:
        van Harten, Stoker, Isgum (2024), arXiv:2310.01934. Tian et al. (2023), GradICON,
        arXiv:2206.05897, for γ.
    """

    points: int = 5000
    regularised: int = 300
    rate: float = 0.001
    beta: float = 0.001
    gamma: float = 0.0
    seed: int = 0

    def __post_init__(self):
        positive(self, "points", "rate")
        positive(self, "regularised", "beta", "gamma", zero=True)

    @property
    def agreement(self) -> Agreement:
        """What is asked of the two maps together."""
        return Agreement(self.beta, self.gamma)

    def start(self, problem: Problem) -> "CycleRun":
        """Begin on a level."""
        if not isinstance(problem.transform, Cycle):
            raise ValueError(
                f"cycle_sampled moves two networks, not {type(problem.transform).__name__}; use "
                "'cycle', or the optimiser 'sampled'"
            )
        return CycleRun(self, problem, problem.transform)


class CycleRun(Run):
    """State of `CycleSampled`: both directions, Adam's memory, and which points come next."""

    noisy = True
    planned = True

    def __init__(self, rule: CycleSampled, problem: Problem, transform: Cycle):
        self.rule, self.problem, self.transform = rule, problem, transform
        self.generator = torch.Generator().manual_seed(rule.seed)
        self.ways = BothWays(problem, rule.points, rule.regularised, rule.name)
        self.annealed = Annealed(problem.free(), rule.rate, problem.steps)

    def step(self) -> tuple[float, dict[str, float]]:
        """Draw points in both images, one gradient, one update."""
        maps = (self.transform.ahead, self.transform.back)
        cost, values = self.ways.cost(maps, self.rule.agreement, self.generator)
        self.annealed.step(cost)
        return float(cost.detach()), values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.note = f"the two directions disagree by {float(self._doubt()):.2g} mm"
        return self.transform

    def _doubt(self) -> Tensor:
        """Mean uncertainty at points of the fixed mask, mm."""
        points, _ = self.ways.ways[0][1].draw(self.generator)
        return self.transform.uncertainty(points.to(self.ways.device)).mean()

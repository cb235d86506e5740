"""Cycle sampled: two networks, one each way, on random points of both images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.objective import Penalty, Similarity
from coincide.optimisers.annealed import Annealed
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.optimisers.scattered import Scattered, both_prepared, refuse
from coincide.optimisers.strata import Strata
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
        seed: Which points are drawn.

    References:
        van Harten, Stoker, Isgum (2024), arXiv:2310.01934.
    """

    points: int = 5000
    regularised: int = 300
    rate: float = 0.001
    beta: float = 0.001
    seed: int = 0

    def __post_init__(self):
        positive(self, "points", "rate")
        positive(self, "regularised", "beta", zero=True)

    def start(self, problem: Problem) -> "CycleRun":
        """Begin on a level."""
        if not isinstance(problem.transform, Cycle):
            raise ValueError(
                f"cycle_sampled moves two networks, not {type(problem.transform).__name__}; use "
                "'cycle', or the optimiser 'sampled'"
            )
        refuse(problem.objective, self.name)
        for _, term in problem.objective.terms:
            if not isinstance(term, Similarity | Penalty):
                raise ValueError(f"cycle_sampled looks at the two images alone, not at {term}")
        return CycleRun(self, problem, problem.transform)


class CycleRun(Run):
    """State of `CycleSampled`: both directions, Adam's memory, and which points come next."""

    noisy = True

    def __init__(self, rule: CycleSampled, problem: Problem, transform: Cycle):
        self.rule, self.problem, self.transform = rule, problem, transform
        self.device = problem.fixed.data.device
        self.generator = torch.Generator().manual_seed(rule.seed)
        images = both_prepared(problem)
        swapped = {term: (other, one) for term, (one, other) in images.items()}
        self.ways = []
        for image, pairs in ((problem.fixed, images), (problem.moving, swapped)):
            other = Strata(image.grid, rule.regularised) if rule.regularised else None
            strata = Strata(image.grid, rule.points, image.mask)
            self.ways.append((Scattered(problem.objective, pairs, image.mask), strata, other))
        self.annealed = Annealed(problem.free(), rule.rate, problem.steps)

    def step(self) -> tuple[float, dict[str, float]]:
        """Draw points in both images, one gradient, one update."""
        maps = (self.transform.ahead, self.transform.back)
        halves, missed = [], []
        for (scattered, strata, other), there, back in zip(
            self.ways, maps, maps[::-1], strict=True
        ):
            points, voxels = strata.draw(self.generator)
            points, where = points.to(self.device), None
            if other is not None:
                where = other.draw(self.generator)[0].to(self.device)
            halves.append(torch.stack(scattered.costs(there, points, voxels, where)).float())
            missed.append((back(there(points)) - points).square().sum(-1).mean())
        terms, cycle = (halves[0] + halves[1]) / 2, (missed[0] + missed[1]) / 2
        weights = self.problem.objective.weights.to(terms)
        cost = terms @ weights + self.rule.beta * cycle
        self.annealed.step(cost)
        values = {
            str(term): float(value)
            for (_, term), value in zip(self.problem.objective.terms, terms.detach(), strict=True)
        }
        return float(cost.detach()), {**values, "cycle": float(cycle.detach())}

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.note = f"the two directions disagree by {float(self._doubt()):.2g} mm"
        return self.transform

    def _doubt(self) -> Tensor:
        """Mean uncertainty at points of the fixed mask, mm."""
        points, _ = self.ways[0][1].draw(self.generator)
        return self.transform.uncertainty(points.to(self.device)).mean()

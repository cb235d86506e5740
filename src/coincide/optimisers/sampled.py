"""Sampled: descent on random points, for transforms that know where any point goes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.objective import OnPair, Penalty, Term
from coincide.optimisers.annealed import Annealed
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.optimisers.scattered import Scattered, both_prepared, refuse
from coincide.optimisers.strata import Strata
from coincide.registry import named, positive
from coincide.space.shapes import Points
from coincide.transforms.siren_conditional import conditional
from coincide.transforms.transform import Transform

GOLDEN = 0.6180339887  # by which one weight follows another: ten of them cover 0 to 1 evenly


@named("sampled")
@dataclass(frozen=True)
class Sampled(Optimiser):
    r"""Adam on points drawn anew in every step, anywhere in the mask, between voxels too.

    A step takes as long for an image of any size, which is what makes a network of coordinates
    affordable. Similarities are asked at `points`, spread evenly over the mask of the fixed image;
    penalties at `regularised` points of the whole image, from the transform's own derivatives:

    $$
    \theta \leftarrow \theta - r_t\, \mathrm{Adam}\Big(\nabla_\theta \Big[
        S\big(F(x_p),\, M(T_\theta(x_p))\big) + \tfrac{w}{Q} \sum_q R\big(\nabla T_\theta(x_q)\big)
    \Big]\Big)
    $$

    The rate $r_t$ rises over the first steps of a level and falls as a cosine towards its last, so
    that all steps of a level are made, whatever its tolerance: fewer are planned by `steps`.
    Only similarities of single points are taken (`standardised`, `ncc`, `nmi`, `mind`, …: windows
    are in their features), and penalties that are the mean of a density. Unlike `stochastic`,
    points lie on no lattice.

    A `siren_conditional` is told a weight $\lambda$ from 0 to 1, another one in every step, and
    lowers $(1 - \lambda)$ times all terms but the penalties, and $\lambda$ times these.

    Args:
        points: Where the images are compared in a step (1 or more).
        regularised: Where penalties are asked in a step; 0: at the same points as the images.
        rate: Length of a typical step of one parameter, in its unit: none for the weights of a
            network, mm for control points, which want 0.2 (> 0).
        jitter: Whether points lie anywhere in their voxel, or at its centre.
        seed: Which points are drawn.

    References:
        Kingma, Ba (2015), arXiv:1412.6980. Wolterink, Zwienenberg, Brune (2022), Implicit neural
        representations for deformable image registration, PMLR 172.
    """

    points: int = 10_000
    regularised: int = 300
    rate: float = 0.001
    jitter: bool = True
    seed: int = 0

    def __post_init__(self):
        positive(self, "points", "rate")
        positive(self, "regularised", zero=True)

    slides = True

    def start(self, problem: Problem) -> "SampledRun":
        """Begin on a level."""
        refuse(problem.objective, self.name)
        return SampledRun(self, problem)


class SampledRun(Run):
    """State of `Sampled`: the images of the level, Adam's memory, and which points come next."""

    noisy = True
    planned = True

    def __init__(self, rule: Sampled, problem: Problem):
        self.problem = problem
        fixed = problem.fixed
        self.device = fixed.data.device
        self.scattered = Scattered(problem.objective, both_prepared(problem), fixed.mask)
        self.strata = Strata(fixed.grid, rule.points, fixed.mask, jitter=rule.jitter)
        self.other = Strata(fixed.grid, rule.regularised) if rule.regularised else None
        self.generator = torch.Generator().manual_seed(rule.seed)
        self.rule = Annealed(problem.free(), rule.rate, problem.steps)
        self.told = conditional(problem.transform)
        self.shown = [member.weight for member in self.told]
        self.weight = float(torch.rand((), generator=self.generator)) if self.told else 0.5

    def step(self) -> tuple[float, dict[str, float]]:
        """Draw points, one gradient, one update."""
        points, voxels = self.strata.draw(self.generator)
        where = None
        if self.other is not None:
            where = self.other.draw(self.generator)[0].to(self.device)
        if self.told:
            self.weight = (self.weight + GOLDEN) % 1
            for member in self.told:
                member.weight = self.weight
        cost, values = self._cost(points.to(self.device), voxels, where)
        self.rule.step(cost)
        return float(cost.detach()), values

    def finish(self) -> Transform:
        """The transform, changed in place, and shown at the weight that it was given with."""
        for member, weight in zip(self.told, self.shown, strict=True):
            member.weight = weight
        return self.problem.transform

    def _cost(
        self, points: Points, voxels: Tensor, where: Points | None
    ) -> tuple[Tensor, dict[str, float]]:
        """The objective at points, and the value of every term."""
        problem, terms = self.problem, self.problem.objective.terms
        asked = iter(self.scattered.costs(problem.transform, points, voxels, where))
        # landmarks are points of their own
        alignment = problem.alignment()
        costs = [
            term(alignment).mean() if isinstance(term, OnPair) else next(asked) for _, term in terms
        ]
        values = {
            str(term): float(cost.detach()) for (_, term), cost in zip(terms, costs, strict=True)
        }
        total = torch.stack(
            [
                self._share(term) * weight * cost.float()
                for (weight, term), cost in zip(terms, costs, strict=True)
            ]
        )
        return total.sum(), values

    def _share(self, term: Term) -> float:
        """By what a term is multiplied where the weight of the penalties is drawn."""
        if not self.told:
            return 1.0
        return self.weight if isinstance(term, Penalty) else 1 - self.weight

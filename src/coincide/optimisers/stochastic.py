"""Stochastic gradient descent whose steps adapt: a few voxels a step, others each time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.optimisers.line_search import Landscape, Place
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.transform import Transform

TRIED = 5  # subsets from which the first step is estimated
DELAY = 20.0  # steps that the gain is as good as constant
BACK, WIDTH = -0.8, 0.1  # least change of time, and the cosine over which it turns
PROBE = 0.1  # largest change of a parameter by which the reach of a step is measured, mm
KEPT = 0.9  # share of the mean cost that the next subset leaves


@named("stochastic")
@dataclass(frozen=True)
class Stochastic(Optimiser):
    r"""Adaptive stochastic gradient descent: a step costs the same on an image of any size.

    $$
    \theta_{k+1} = \theta_k - \frac{a}{(20 + t_k)^\alpha}\, \tilde g_k, \qquad
    t_{k+1} = \max\big(0,\; t_k + f(-\cos(\tilde g_k, \tilde g_{k-1}))\big)
    $$

    where the gradient $\tilde g_k$ is that of a subset of the voxels. Time $t$ goes back while
    successive gradients agree, and forward when they do not. $a$ is estimated from the first
    subsets: no voxel moves further than `longest` in the first step, and less where subsets
    disagree; no later step is longer.

    A subset is a regular lattice, as coarse as `samples` allows, that starts at another random
    voxel in every step. It covers the whole image evenly, every voxel comes as often as any
    other, and whatever needs neighbours still works: features are made from the full images
    once a level, and a window of `lncc` counts lattice points, so it reaches further in mm.

    The cost reported is a running mean over subsets, as that of a single one is noisy.

    Args:
        samples: Voxels looked at in a step, about (1 or more).
        longest: Most that a voxel moves in a step, mm, about (> 0).
        decay: $\alpha$, how fast steps shorten (no unit, 0.6 to 1).
        seed: Which lattices are drawn.

    References:
        Klein et al. (2009), doi:10.1007/s11263-008-0168-y.
    """

    samples: int = 10_000
    longest: float = 1.0
    decay: float = 1.0
    seed: int = 0

    def start(self, problem: Problem) -> "StochasticRun":
        """Begin on a level."""
        return StochasticRun(self, problem)


class StochasticRun(Run):
    """State of `Stochastic`: the last point and gradient, the time, and the mean cost."""

    def __init__(self, rule: Stochastic, problem: Problem):
        self.rule, self.problem = rule, problem
        self.random = np.random.default_rng(rule.seed)
        grid = problem.fixed.grid
        # side of the cube that one sample stands for, mm
        self.factors = grid.factors(float(np.prod(grid.extent) / rule.samples) ** (1 / grid.dim))
        self.prepared = {term: problem.features(term) for _, term in problem.objective.similarities}
        self.landscape = Landscape(problem.transform, self._ask)
        self.point = self.landscape.point()
        self.last: Place | None = None
        self.time, self.cost = 0.0, 0.0
        self.values: dict[str, float] = {}
        self.gain, self.limit = self._gain()

    def step(self) -> tuple[float, dict[str, float]]:
        """One gradient of one subset, one update."""
        # each look draws another lattice, even at the same point
        place = self.landscape.at(self.point)
        if self.last is None:
            self.cost, self.values = place.cost, place.values
        else:
            self.time = max(0.0, self.time + later(-_cosine(place.gradient, self.last.gradient)))
            self.cost = KEPT * self.cost + (1 - KEPT) * place.cost
            self.values = {
                name: KEPT * mean + (1 - KEPT) * place.values[name]
                for name, mean in self.values.items()
            }
        # a subset with an unusually large gradient must not throw a voxel further than allowed
        length = min(self.gain, self.limit / max(float(place.gradient.norm()), 1e-30))
        length *= (DELAY / (DELAY + self.time)) ** self.rule.decay
        self.point, self.last = self.point - length * place.gradient, place
        return self.cost, self.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.landscape.move(self.point)
        return self.problem.transform

    def _ask(self) -> tuple[Tensor, dict[str, float]]:
        """The objective on another random lattice."""
        start = [int(self.random.integers(f)) for f in self.factors]
        problem = self.problem
        prepared = {
            term: (_thinned(fixed, start, self.factors), moving)
            for term, (fixed, moving) in self.prepared.items()
        }
        fixed = _thinned(problem.fixed, start, self.factors)
        alignment = Alignment(fixed, problem.moving, problem.transform, problem.outer, prepared)
        return problem.objective(alignment)

    def _gain(self) -> tuple[float, float]:
        """The factor of first steps, and how long a step of the parameters may be."""
        gradients = [self.landscape.at(self.point).gradient for _ in range(TRIED)]
        reaches = [self._reach(gradient) for gradient in gradients]
        if max(reaches) == 0:
            return 0.0, 0.0
        longest = self.rule.longest
        limit = min(
            longest * float(s.norm()) / r for s, r in zip(gradients, reaches, strict=True) if r
        )
        # the share of the gradient that does not depend on the subset, by two moments
        together = float(torch.stack(gradients).sum(0).square().sum())
        alone = sum(float(gradient.square().sum()) for gradient in gradients)
        steady = max((together / alone - 1) / (TRIED - 1), 0.0)
        return steady * longest / max(reaches), limit

    def _reach(self, gradient: Tensor) -> float:
        """How far any voxel of a lattice moves for a unit step along a gradient, mm."""
        largest = float(gradient.abs().max())
        if largest == 0:
            return 0.0
        grid = self.problem.fixed.grid.shrink(self.factors)
        # by a difference of displacements, which every transform can give
        fields = []
        with torch.no_grad():
            for step in (0.0, PROBE / largest):
                # the transform stays there; the next look moves it anyway
                self.landscape.move(self.point - step * gradient)
                fields.append(self.problem.transform.displacement(grid).clone())
        return float((fields[1] - fields[0]).norm(dim=1).max()) * largest / PROBE


def later(disagreement: float) -> float:
    """By how much time goes on: from -0.8 where gradients agree, by 0, to 1 where they do not."""
    # a sigmoid through 0: gradients at right angles leave the time alone
    return BACK + (1 - BACK) / (1 - math.exp(-disagreement / WIDTH) / BACK)


def _cosine(one: Tensor, other: Tensor) -> float:
    size = float(one.norm() * other.norm())
    return float(one @ other) / size if size > 0 else 0.0


def _thinned(image: Image, start: Sequence[int], factors: Sequence[int]) -> Image:
    """Every `factors[d]`-th voxel from `start` on."""
    affine = image.grid.affine.copy()
    affine[:-1, :-1] *= factors
    # the lattice starts at its first voxel, unlike `shrink`, which centres
    affine[:-1, -1] = image.grid.to_world(np.array(start))
    lattice = tuple(slice(s, None, f) for s, f in zip(start, factors, strict=True))
    data = image.data[(..., *lattice)].contiguous()
    mask = None if image.mask is None else image.mask[(..., *lattice)].contiguous()
    return Image(data, Grid(tuple(data.shape[2:]), affine), mask)

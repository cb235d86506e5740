"""SyN: both images are brought to a middle between them, so that neither is preferred."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.kernels.update import compose, force, largest
from coincide.kernels.warp import warp
from coincide.objective import Penalty, Similarity
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.optimisers.roughness import widened
from coincide.registry import named
from coincide.space.grid import transform_vectors
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement
from coincide.transforms.symmetric import Symmetric


@named("syn")
@dataclass(frozen=True)
class SyN(Optimiser):
    r"""Greedy symmetric normalisation: both images move towards each other, for `symmetric`.

    With $F' = F \circ \phi_F$ and $M' = M \circ \phi_M$ in the middle,

    $$
    w_F = G_{\text{update}} * \Big(-\frac{\partial S(M', F')}{\partial F'} \nabla F'\Big), \qquad
    \phi_F \leftarrow G_{\text{field}} * \big(\phi_F \circ (\mathrm{id} + \epsilon w_F)\big)
    $$

    and the same with the roles exchanged, where $\epsilon$ makes the longest step of the two
    `step` voxels. The cost is the mean of $S(F', M')$ and $S(M', F')$, so exchanging the images
    gives the inverse. Penalties are summed over the halves. With several similarities each force
    is divided by its root mean square. The halves of the lowest cost are kept.

    Args:
        step: Longest move of one update of a half, voxels of the level (> 0).
        update: Standard deviation of the Gaussian on each update, voxels of the level.
        field: Standard deviation of the Gaussian on each half, voxels of the level.
        adaptive: How many times as wide both Gaussians are where the difference of the halves is
            even, see `compositive` (>= 1).

    References:
        Avants et al. (2008), doi:10.1016/j.media.2007.06.004.
    """

    step: float = 0.5
    update: float = 2.0
    field: float = 0.7
    adaptive: float = 1.0

    def __post_init__(self):
        if self.adaptive < 1:
            raise ValueError(
                f"adaptive widens the Gaussians, so it is 1 or more, not {self.adaptive}"
            )

    def start(self, problem: Problem) -> "SyNRun":
        """Begin on a level."""
        transform = problem.transform
        if not isinstance(transform, Symmetric) or transform.grid != problem.fixed.grid:
            raise ValueError(
                f"syn moves two halves on the grid of the images, not "
                f"{type(transform).__name__}; use 'symmetric', or compositive, adam or lbfgs"
            )
        if not problem.objective.similarities:
            raise ValueError("syn needs at least one similarity in the objective")
        for _, term in problem.objective.terms:
            if not isinstance(term, Similarity | Penalty) or getattr(term, "whole", False):
                raise ValueError(
                    f"syn compares the registered images in the middle between them, where there "
                    f"is no {term}; leave it out, or use adam"
                )
        return SyNRun(self, problem)


class SyNRun(Run):
    """State of `SyN`: the halves in voxels, one batch: first the fixed ones, then the moving."""

    def __init__(self, rule: SyN, problem: Problem):
        self.rule, self.problem = rule, problem
        grid = problem.fixed.grid
        self.scale = grid.affine[:-1, :-1]
        self.metric = self.scale.T @ self.scale
        self.unit, self.ratio = grid.finest, grid.fineness
        start = problem.transform
        halves = torch.cat([start.fixed_half.detach(), start.moving_half.detach()])  # type: ignore[list-item]
        self.halves: Field = transform_vectors(np.linalg.inv(self.scale), halves)
        self.wider, self.note = 1.0, ""
        if rule.adaptive > 1:
            first, second = halves.chunk(2)
            self.wider, self.note = widened(rule.adaptive, second - first, grid)
        self.best, self.lowest = self.halves, math.inf
        # the halves now, the best so far, and the next
        self.buffers = self.halves, torch.empty_like(self.halves), torch.empty_like(self.halves)
        self.force, self.total = torch.empty_like(self.halves), torch.empty_like(self.halves)
        self.pairs = [(w, t, self._pair(t)) for w, t in problem.objective.similarities]
        self.penalties = [(w, t) for w, t in problem.objective.terms if isinstance(t, Penalty)]

    def step(self) -> tuple[float, dict[str, float]]:
        """One composition of each half."""
        cost, values = 0.0, {}
        self.total.zero_()
        for weight, term, images in self.pairs:
            values[str(term)] = value = self._force(term, images)
            cost += weight * value
            if len(self.pairs) > 1:
                # each half by itself: their sum does not depend on which comes first
                size = math.hypot(
                    *(float(torch.linalg.vector_norm(f)) for f in self.force.chunk(2))
                )
                weight *= self.force.numel() ** 0.5 / max(size, 1e-20)
            self.total.add_(self.force, alpha=weight)
        for weight, term in self.penalties:
            values[str(term)] = value = self._penalty(term, weight)
            cost += weight * value
        if cost < self.lowest:
            self.best, self.lowest = self.halves, cost
        gaussian(self.total, self._sigma(self.rule.update), out=self.total)
        longest = largest(self.total, self.metric)
        if longest > 0:
            step = self.rule.step * self.unit / longest
            # of three buffers one is always neither the halves of now nor the best
            after = next(b for b in self.buffers if b is not self.halves and b is not self.best)
            compose(self.halves, self.total, step, out=after)
            self.halves = gaussian(after, self._sigma(self.rule.field), out=after)
        return cost, values

    def finish(self) -> Symmetric:
        """The halves of the lowest cost, in millimetres."""
        fixed, moving = transform_vectors(self.scale, self.best).chunk(2)
        start = self.problem.transform
        return Symmetric(
            start.spacing,  # type: ignore[arg-type]
            fixed_half=fixed.contiguous(),
            moving_half=moving.contiguous(),
            grid=self.problem.fixed.grid,
        )

    def _sigma(self, voxels: float) -> list[float]:
        return [self.wider * voxels * float(r) for r in self.ratio]

    def _pair(self, term: Similarity) -> Image:
        """Both prepared images as one batch on the grid of the middle; both count within it."""
        fixed, moving = self.problem.features(term)
        if moving.grid != fixed.grid:
            moving = resample(moving, fixed.grid)
        mask = None
        if fixed.mask is not None or moving.mask is not None:
            mask = torch.cat([fixed.weight(), moving.weight()])
        return Image(torch.cat([fixed.data, moving.data]), fixed.grid, mask)

    def _force(self, term: Similarity, images: Image) -> float:
        index, scale = np.eye(images.dim, images.dim + 1), np.eye(images.dim)
        data, valid = warp(images.data, self.halves, index, scale, clamp=False)
        if images.mask is not None:
            valid = valid * warp(images.mask, self.halves, index, scale)[0]
        here, there = valid.chunk(2)
        # a place counts where both images are seen
        both = (here * there).repeat(2, *(1,) * (valid.ndim - 1))
        # turned by half of the batch, each half meets the other
        other = Image(data.roll(len(here), 0), images.grid)
        # not before: the turned copy has no graph, so that each half follows itself alone
        data.requires_grad_()
        # summed, so that each half has the force that it would have alone
        value = term.compare(other, Image(data, images.grid, both)).sum()
        (gradient,) = torch.autograd.grad(value, data)
        force(gradient, data.detach(), np.linalg.inv(self.metric), out=self.force)
        # the mean of both directions and of the pairs
        return float(value.detach()) / len(data)

    def _penalty(self, term: Penalty, weight: float) -> float:
        problem = self.problem
        trial = Displacement(
            field=transform_vectors(self.scale, self.halves), grid=problem.fixed.grid
        )
        value = term(problem.alignment(trial)).sum()
        (gradient,) = torch.autograd.grad(value, trial.field)
        self.total.sub_(transform_vectors(np.linalg.inv(self.scale), gradient), alpha=weight)
        # the batch holds both halves of every pair, whose penalties are added
        return 2 * float(value.detach()) / len(gradient)

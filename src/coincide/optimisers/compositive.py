"""Compositive: smoothed forces composed with a displacement field, as in greedy and demons."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.difference import mean_square_force
from coincide.kernels.smooth import gaussian
from coincide.kernels.update import compose, force, largest
from coincide.kernels.warp import force_along, warp
from coincide.objective import OnPair, Similarity, Term
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.optimisers.roughness import widened
from coincide.optimisers.syn import SyN
from coincide.registry import named
from coincide.space.grid import transform_vectors
from coincide.space.image import Image
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform

HALF = 0.6  # smoothing of each of two halves, as a share of that of a whole displacement


@named("compositive")
@dataclass(frozen=True)
class Compositive(Optimiser):
    r"""Greedy composition of small smooth steps, for displacement fields.

    $$
    w = G_{\text{update}} * \Big(-\sum_s \frac{\lambda_s}{r_s}
        \frac{\partial S_s}{\partial W} \nabla W\Big), \qquad
    u \leftarrow G_{\text{field}} * \big(u + \epsilon w + \epsilon (w \cdot \nabla) u\big)
    $$

    where $\epsilon$ makes the largest step `step` voxels. With several similarities each force is
    divided by its root mean square $r_s$, so that weights compare directions, not units, and
    gradients of penalties by the mean of the $r_s$. So are the forces of labels and landmarks that
    move along, after smoothing, as they act in few places; of these $r_s$ is the largest so far,
    so that they cease to pull where they agree.

    A step has a fixed length, so the cost may rise near the end; the field of the lowest cost is
    the one kept, and images that coincide already stay as they are.

    Lengths are counted in voxels of the level, because the scheme is one of scales: on every
    level the field may bend as much, relative to its voxels, as on the others.

    Args:
        step: Longest move of one update, voxels of the level (> 0).
        update: Standard deviation of the Gaussian on each update, voxels of the level.
        field: Standard deviation of the Gaussian on the whole field, voxels of the level.
        gradient: Of which image: `warped`, the steepest descent under small compositions; or
            `moving`, at the places where it is sampled, the steepest descent under changes of u,
            which goes further where the field is steep already, as between phases of a heart.
        adaptive: How many times as wide both Gaussians are on a level that goes on from an even
            field, as between images of one person (>= 1; 1: never wider); see `roughness`.

    References:
        Joshi et al. (2004), doi:10.1016/j.neuroimage.2004.07.068;
        Yushkevich et al. (2016), doi:10.1016/j.jalz.2016.06.441.
    """

    step: float = 1.0
    update: float = 2.0
    field: float = 1.0
    gradient: str = "warped"
    adaptive: float = 1.0

    def __post_init__(self):
        if self.adaptive < 1:
            raise ValueError(
                f"adaptive widens the Gaussians, so it is 1 or more, not {self.adaptive}"
            )
        if self.gradient not in ("warped", "moving"):
            raise ValueError(f"the gradient is 'warped' or 'moving', not {self.gradient!r}")

    def suited(self, transform: Transform) -> Optimiser | None:
        """`syn` for two halves; nothing for transforms that are no field on the images' grid."""
        if isinstance(transform, Symmetric):
            return SyN(
                step=0.5 * self.step,
                update=self.update,
                field=HALF * self.field,
                adaptive=self.adaptive,
            )
        return self if isinstance(transform, Displacement) else None

    def start(self, problem: Problem) -> "CompositiveRun":
        """Begin on a level."""
        return CompositiveRun(self, problem)


class CompositiveRun(Run):
    """The field in voxels, and working memory made once.

    Args:
        rule: What to obey.
        problem: What to solve.
        turned: Makes of a smooth force the direction in which to go, in place or not; None: that
            of the force.
        name: What to call the rule in errors.

    Raises:
        ValueError: if the transform or the objective cannot be used.
    """

    def __init__(
        self,
        rule: Compositive,
        problem: Problem,
        turned: Callable[[Field], Field] | None = None,
        name: str = "compositive",
    ):
        transform = problem.transform
        if not isinstance(transform, Displacement) or transform.grid != problem.fixed.grid:
            raise ValueError(
                f"{name} moves a displacement field on the grid of the images, not "
                f"{type(transform).__name__}; use 'displacement', or adam or lbfgs"
            )
        terms = [term for _, term in problem.objective.terms]
        if not any(isinstance(term, Similarity | OnPair) for term in terms):
            raise ValueError(f"{name} needs at least one similarity in the objective")
        self.rule, self.problem, self.turned = rule, problem, turned
        grid = problem.fixed.grid
        self.scale = grid.affine[:-1, :-1]
        self.metric = self.scale.T @ self.scale
        self.unit = grid.finest
        # one sigma in mm along all axes: coarse axes of thick slices are smoothed by fewer voxels
        self.ratio = grid.fineness
        world = transform.field.detach()
        self.field: Field = transform_vectors(np.linalg.inv(self.scale), world)
        self.wider, self.note = (
            widened(rule.adaptive, world, grid) if rule.adaptive > 1 else (1.0, "")
        )
        self.best, self.lowest = self.field, math.inf
        # the field now, the best so far, and three to work with, which change their roles
        self.buffers = [self.field, *(torch.empty_like(self.field) for _ in range(4))]
        self.pairs = []
        for weight, term in problem.objective.similarities:
            fixed, moving = problem.features(term)
            data = self.field.new_empty(*moving.data.shape[:2], *grid.shape)
            buffers = data, torch.empty_like(data[:, :1])
            self.pairs.append((weight, term, fixed, moving, term.support(fixed), buffers))
        others = [(w, t) for w, t in problem.objective.terms if not isinstance(t, Similarity)]
        self.beside = [(w, t) for w, t in others if isinstance(t, OnPair)]
        self.penalties = [(w, t) for w, t in others if not isinstance(t, OnPair)]
        self.strongest = [1e-20] * len(self.beside)

    def step(self) -> tuple[float, dict[str, float]]:
        """One composition."""
        # field and best may be the same buffer: of five, three are free in either case
        total, force, spare = self._free(self.field, self.best)[:3]
        cost, values = 0.0, {}
        many = len(self.pairs) + len(self.beside) > 1
        strength = weights = 0.0
        sigma = self._sigma(self.rule.update)
        if not self.pairs:
            total.zero_()
        for n, (weight, term, *pair) in enumerate(self.pairs):
            # the first force is written where the sum will be, which saves clearing and adding it
            out = force if n else total
            value = self._force(term, *pair, out=out)
            values[str(term)] = value
            cost += weight * value
            factor = weight
            if self.beside:
                gaussian(out, sigma, out=out)
            # forces in different units are added by direction; see the class
            if many:
                size = max(self._strength(out), 1e-20)
                strength, weights = strength + weight * size, weights + weight
                factor /= size
            if n:
                total.add_(force, alpha=factor)
            elif factor != 1:
                total.mul_(factor)
        for n, (weight, term) in enumerate(self.beside):
            value, gradient = self._gradient(term)
            values[str(term)] = value
            cost += weight * value
            gaussian(gradient, sigma, out=gradient)
            self.strongest[n] = max(self.strongest[n], self._strength(gradient))
            # minus, since a force leads downhill and a gradient uphill
            total.sub_(gradient, alpha=weight / self.strongest[n])
        for weight, term in self.penalties:
            value, gradient = self._gradient(term)
            values[str(term)] = value
            cost += weight * value
            if self.beside:
                gaussian(gradient, sigma, out=gradient)
            # forces of length one need a gradient in the same unit: their mean length before
            total.sub_(gradient, alpha=weight * weights / strength if strength else weight)
        if cost < self.lowest:
            self.best, self.lowest = self.field, cost
            # the field of now has become the best, and the buffer of the old best is free
            force, spare = self._free(self.field, total)[:2]
        # with labels or landmarks each force has been smoothed already
        update = total if self.beside else gaussian(total, sigma, out=force)
        update = self.turned(update) if self.turned else update
        longest = largest(update, self.metric)
        # without any force the field stays, as between images that coincide
        if longest > 0:
            step = self.rule.step * self.unit / longest
            moved = compose(self.field, update, step, out=spare)
            # total is not needed any more, even where it is the update
            self.field = gaussian(moved, self._sigma(self.rule.field), out=total)
        return cost, values

    def finish(self) -> Transform:
        """The displacement of the lowest cost, in millimetres."""
        world = transform_vectors(self.scale, self.best)
        transform = self.problem.transform
        return Displacement(
            transform.spacing,  # type: ignore[arg-type]
            field=world,
            grid=self.problem.fixed.grid,
        )

    def _sigma(self, voxels: float) -> list[float]:
        return [self.wider * voxels * float(r) for r in self.ratio]

    def _free(self, *taken: Tensor) -> list[Tensor]:
        return [b for b in self.buffers if all(b is not t for t in taken)]

    def _force(
        self,
        term: Similarity,
        fixed: Image,
        moving: Image,
        spans: np.ndarray | None,
        buffers: tuple[Tensor, Tensor],
        *,
        out: Field,
    ) -> float:
        dim, metric = fixed.dim, np.linalg.inv(self.metric)
        index, scale = np.eye(dim, dim + 1), np.eye(dim)
        data, valid = warp(moving.data, self.field, index, scale, spans=spans, out=buffers)
        for mask in (fixed.mask, self._warped_mask(moving)):
            valid = valid if mask is None else valid * mask
        # value and force in one pass over the images, without the graph
        if term.squared and self.rule.gradient == "warped":
            value = mean_square_force(fixed.data, data, valid, metric, out=out)
            return float(value.sum()) / len(data)
        # differentiated by the warped image only; the step from there to the field is made by hand
        data = data.detach().requires_grad_()
        # a sum over pairs, so that each has the force that it would have alone
        value = term.compare(fixed, Image(data, fixed.grid, valid)).sum()
        (gradient,) = torch.autograd.grad(value, data)
        if self.rule.gradient == "moving":
            force_along(gradient, moving.data, self.field, metric, spans=spans, out=out)
        else:
            force(gradient, data.detach(), metric, out=out)
        return float(value.detach()) / len(data)

    def _warped_mask(self, moving: Image) -> Tensor | None:
        if moving.mask is None:
            return None
        dim = moving.dim
        return warp(moving.mask, self.field, np.eye(dim, dim + 1), np.eye(dim))[0]

    def _gradient(self, term: Term) -> tuple[float, Field]:
        """Value of a term that is no similarity, and its derivative, voxels."""
        problem = self.problem
        trial = Displacement(
            field=transform_vectors(self.scale, self.field), grid=problem.fixed.grid
        )
        value = term(problem.alignment(trial)).sum()
        (gradient,) = torch.autograd.grad(value, trial.field)
        # the derivative by mm is a vector of the world; the inverse counts it in voxels
        return float(value.detach()) / len(gradient), transform_vectors(
            np.linalg.inv(self.scale), gradient
        )

    def _strength(self, force: Field) -> float:
        """Root mean square of the components."""
        return float(torch.linalg.vector_norm(force)) / force.numel() ** 0.5

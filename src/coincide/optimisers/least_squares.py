"""Least squares: Gauss-Newton steps for a deformation that is linear in its parameters."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.objective import Similarity, Term
from coincide.optimisers.normal_matrix import Quadratic, curvature_of
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.penalties.bending import Bending
from coincide.registry import named, parts, positive
from coincide.space.grid import tensor
from coincide.space.image import Image
from coincide.space.sampling import sample, sample_slope
from coincide.transforms.design import Design, design
from coincide.transforms.transform import Transform

FACTOR = 10.0  # by which damping grows where the cost rose, and shrinks where it fell
TRIALS = 4  # dampings tried on one set of points
PATIENCE = 3  # sets of points in a row on which nothing was gained, after which all is done


@named("least_squares")
@dataclass(frozen=True)
class LeastSquares(Optimiser):
    r"""Gauss-Newton on random points, for deformations that are linear in their parameters.

    A dozen steps do what hundreds of gradient steps do. With the displacement $u = A w$, the
    residuals $r = W(x + u) - F(x)$ of the images or features compared and their slopes
    $g = \nabla W(x + u)$,

    $$
    \Big( \big\langle A^\top g g^\top A \big\rangle + \lambda B + \mu \Big)\, \delta =
    -\big\langle A^\top g\, r \big\rangle - \lambda B w
    $$

    where $\langle \cdot \rangle$ is the mean over points and channels, $B$ gives the bending and
    $\lambda$ is its weight in the objective. New points are drawn in every step, evenly spread over
    the mask and jittered. A step that does not lower the cost on the points it was made from is
    tried again with more damping $\mu$. Takes objectives made of squared similarities and
    `bending`; moves `bspline` and, as far as their last layers go, `siren` and `sinr`.

    Args:
        points: Places where the images are compared in each step; where the mask has no more
            voxels than that, these. 0: all voxels.
        damping: First $\mu$ as a share of the mean diagonal (no unit, > 0).
        curved: Places where bending is taken, for transforms without a closed form.
        seed: Of the places.

    References:
        Levenberg (1944), doi:10.1090/qam/10666; Marquardt (1963), doi:10.1137/0111030.
    """

    points: int = 8000
    damping: float = 1e-4
    curved: int = 300
    seed: int = 0

    def __post_init__(self):
        positive(self, "damping", "curved")
        positive(self, "points", zero=True)

    def start(self, problem: Problem) -> "LeastSquaresRun":
        """Begin on a level."""
        refused = [str(term) for _, term in problem.objective.terms if not _fits(term)]
        if refused or not problem.objective.similarities:
            squared = [n for n, p in parts(Similarity).items() if p.squared]  # type: ignore[attr-defined]
            raise ValueError(
                f"least_squares minimises squared differences ({', '.join(squared)}) and bending, "
                f"not {', '.join(refused) or problem.objective}; use one of these, or adam or lbfgs"
            )
        kind = type(problem.transform)
        if design.dispatch(kind) is design.dispatch(Transform):
            raise ValueError(
                f"least_squares moves transforms that are linear in their parameters (bspline, "
                f"siren, sinr), not {kind.__name__}; use adam or lbfgs"
            )
        return LeastSquaresRun(self, problem)


@dataclass(frozen=True, eq=False)
class _Look:
    """The cost at given weights, and the quadratic about them if it was asked for."""

    cost: float
    values: dict[str, float]
    quadratic: Quadratic | None = None


class LeastSquaresRun(Run):
    """State of `LeastSquares`: the weights and the damping."""

    def __init__(self, rule: LeastSquares, problem: Problem):
        self.rule, self.problem = rule, problem
        self.design: Design = design(problem.transform)
        self.pairs = [
            (weight, term, *problem.features(term))
            for weight, term in problem.objective.similarities
        ]
        self.bending = [(w, t) for w, t in problem.objective.terms if isinstance(t, Bending)]
        self.stiffness = sum(weight for weight, _ in self.bending)
        self.random = np.random.default_rng(rule.seed)
        self.places = np.flatnonzero(problem.fixed.weight()[0, 0].cpu().numpy() > 0)
        self.all = rule.points == 0 or rule.points >= len(self.places)
        self.noisy = not self.all
        self.damping, self.idle = rule.damping, 0

    def step(self) -> tuple[float, dict[str, float]]:
        """Solve the damped equations on new points, with more damping until the cost falls."""
        where = self._drawn(self.rule.points, exact=self.all)
        curved = self._drawn(min(self.rule.curved, len(self.places)), exact=False)
        matrix = self.design.matrix(where)
        start = self.design.weights.clone()
        here = self._look(where, curved, matrix, start, with_slopes=True)
        assert here.quadratic is not None
        if not np.isfinite(here.cost):
            return here.cost, here.values
        curvature = curvature_of(self.design, matrix, curved, here.quadratic, self.stiffness)
        for _ in range(TRIALS):
            there = start - curvature.solved(here.quadratic.gradient, self.damping)
            if self._look(where, curved, matrix, there).cost < here.cost:
                self.design.put(there)
                self.damping = max(self.damping / FACTOR, self.rule.damping)
                self.idle = 0
                return here.cost, here.values
            self.damping *= FACTOR
        self.damping, self.idle = self.rule.damping, self.idle + 1
        # on all voxels another try would be the same
        self.stalled = self.all or self.idle >= PATIENCE
        return here.cost, here.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        return self.problem.transform

    def _drawn(self, count: int, *, exact: bool) -> Tensor:
        """World points (P, D): the voxels of the mask, or jittered ones from all over it."""
        image = self.problem.fixed
        if exact:
            chosen, jitter = self.places, 0.0
        else:
            total = len(self.places)
            steps = (np.arange(count) + self.random.random(count)) * total / count
            chosen = self.places[np.minimum(steps.astype(int), total - 1)]
            jitter = self.random.random((count, image.dim)) - 0.5
        index = np.stack(np.unravel_index(chosen, image.grid.shape), -1) + jitter
        return tensor(image.grid.to_world(index), image.data)

    @torch.no_grad()
    def _look(
        self,
        where: Tensor,
        curved: Tensor,
        matrix: Tensor,
        weights: Tensor,
        *,
        with_slopes: bool = False,
    ) -> _Look:
        moved = where + matrix @ weights
        cost, values = 0.0, {}
        squares = where.new_zeros(*where.shape, where.shape[-1])
        force = torch.zeros_like(where)
        for weight, term, fixed, moving in self.pairs:
            residual, valid = _residual(fixed, moving, where, moved)
            # a mean over channels and over where both images count
            share = valid / (residual.shape[1] * valid.sum().clamp_min(1e-12))
            values[str(term)] = value = float((share[:, None] * residual.square()).sum())
            cost += weight * value
            if with_slopes:
                slope = sample_slope(moving, moved[None])[0]
                weighted = weight * share[:, None, None] * slope
                squares += torch.einsum("pci,pcj->pij", weighted, slope)
                force += torch.einsum("pci,pc->pi", weighted, residual)
        gradient = matrix.T @ force if with_slopes else weights
        if self.bending:
            bent = self.design.bent(weights, curved)
            value = float((bent * weights).sum())
            values |= {str(term): value for _, term in self.bending}
            cost += self.stiffness * value
            gradient = gradient + self.stiffness * bent
        return _Look(cost, values, Quadratic(squares, gradient) if with_slopes else None)


def _fits(term: Term) -> bool:
    return isinstance(term, Bending) or (isinstance(term, Similarity) and term.squared)


def _residual(fixed: Image, moving: Image, where: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
    """Difference of the images at points, (P, C), and how much each point counts, (P,)."""
    clamp = moving.mask is not None  # as everywhere: a mask says where values end
    seen, inside = sample(moving, moved[None], clamp=clamp)
    valid = inside[0, :, 0]
    if moving.mask is not None:
        valid = sample(Image(moving.weight(), moving.grid), moved[None])[0][0, :, 0]
    if fixed.mask is not None:
        valid = valid * sample(Image(fixed.weight(), fixed.grid), where[None])[0][0, :, 0]
    there = sample(fixed, where[None], clamp=True)[0]
    return seen[0] - there[0], valid

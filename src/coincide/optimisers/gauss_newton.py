"""Gauss-Newton with damping, for linear transforms and squared differences."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from coincide.kernels.normal import Normal, normal_equations
from coincide.kernels.warp import warp
from coincide.objective import Similarity
from coincide.optimisers.linear_map import LinearMap
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named, parts
from coincide.space.image import Image
from coincide.transforms.transform import Transform

WORTH = 1e-5  # share of the cost below which a promised fall is not worth a look
FACTOR = 10.0  # by which damping grows where the cost rose, and shrinks where it fell
LEAST = 1e-4  # damping below which nothing is gained, and from which too much must be climbed
TRIALS = 5  # dampings tried from one place


@named("gauss_newton")
@dataclass(frozen=True)
class GaussNewton(Optimiser):
    r"""Levenberg-Marquardt: few steps to the optimum of a squared difference.

    $$
    (H + \lambda\, \mathrm{diag}\, H)\, \delta = -g, \qquad
    H = \frac{2}{|\Omega|} \int_\Omega \nabla_\theta W\, \nabla_\theta W^\top, \quad
    g = \frac{2}{|\Omega|} \int_\Omega (W - F)\, \nabla_\theta W
    $$

    $H$ and $g$ are summed in one pass over the voxels. A step that raises the cost is tried
    again with more damping $\lambda$, so the cost never rises. Takes translations, rigid,
    similarity and affine transforms, and objectives made of `mse`, `ngf`, `mind`, `mind_ssc`.

    Args:
        damping: First $\lambda$ (no unit, > 0); more makes shorter, safer steps.
        longest: Length that no step exceeds, mm; far away a cost may be low by chance.

    References:
        Marquardt (1963), doi:10.1137/0111030;
        Thévenaz, Ruttimann, Unser (1998), doi:10.1109/83.650848.
    """

    damping: float = 0.01
    longest: float = math.inf

    def start(self, problem: Problem) -> "GaussNewtonRun":
        """Begin on a level."""
        refused = [
            str(term)
            for _, term in problem.objective.terms
            if not (isinstance(term, Similarity) and term.squared)
        ]
        if refused:
            squared = [n for n, p in parts(Similarity).items() if p.squared]  # type: ignore[attr-defined]
            raise ValueError(
                f"gauss_newton minimises squared differences ({', '.join(squared)}), not "
                f"{', '.join(refused)}; use lbfgs"
            )
        return GaussNewtonRun(self, problem)


@dataclass(frozen=True, eq=False)
class _Place:
    """Cost, gradient (P,) and curvature (P, P) at one point (P,)."""

    point: np.ndarray
    values: dict[str, float]
    normal: Normal


class GaussNewtonRun(Run):
    """State of `GaussNewton`: the last place and the damping."""

    def __init__(self, rule: GaussNewton, problem: Problem):
        self.rule, self.problem = rule, problem
        self.map = LinearMap(problem, "gauss_newton")
        self.pairs = [
            (weight, str(term), *problem.features(term))
            for weight, term in problem.objective.similarities
        ]
        self.damping = rule.damping
        self.here = self._look(self.map.point())

    def step(self) -> tuple[float, dict[str, float]]:
        """Solve the damped equations, with more damping until the cost falls."""
        here = self.here
        cost, gradient, curvature = here.normal
        if not np.isfinite(cost):
            return cost, here.values
        # Marquardt's: each parameter is damped by its own curvature, whatever its unit
        stiffness = np.diag(curvature)
        floor = 1e-9 * stiffness.mean() + 1e-30  # where nothing is seen of a parameter
        for _ in range(TRIALS):
            damped = curvature + np.diag(self.damping * stiffness + floor)
            move = -np.linalg.solve(damped, gradient)
            move *= min(1.0, self.rule.longest / max(float(np.linalg.norm(move)), 1e-30))
            # by how much the quadratic model falls
            promised = -float(gradient @ move + 0.5 * move @ curvature @ move)
            if promised <= WORTH * cost:
                break
            there = self._look(here.point + move)
            if there.normal.cost < cost:
                # the cost reported is that before the step, as in every optimiser
                self.here, self.damping = there, max(self.damping / FACTOR, LEAST)
                return cost, here.values
            self.damping *= FACTOR
        self.stalled = True
        return cost, here.values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self.map.move(self.here.point)
        return self.problem.transform

    def _look(self, point: np.ndarray) -> _Place:
        self.map.move(point)
        size = len(point)
        cost, gradient, curvature = 0.0, np.zeros(size), np.zeros((size, size))
        values: dict[str, float] = {}
        chain = self.map.jacobian()
        for weight, name, fixed, moving in self.pairs:
            to_moving, here = moving.grid.inverse, fixed.grid.affine
            index = (to_moving @ self.map.transform.numpy() @ here)[:-1]
            # the moving mask is brought along by the map of this very point
            mask = self._weight(fixed, moving, index)
            normal = normal_equations(fixed.data, moving.data, index, mask)
            # index = to_moving · matrix · here, of which only the upper rows of matrix change
            by_entry = np.einsum("ab,bcp,cd->adp", to_moving[:-1, :-1], chain, here)
            by_entry = by_entry.reshape(-1, size)
            values[name] = normal.cost
            cost += weight * normal.cost
            gradient += weight * by_entry.T @ normal.gradient
            # the second derivative of the map is left out, like that of the image
            curvature += weight * by_entry.T @ normal.curvature @ by_entry
        return _Place(point, values, Normal(cost, gradient, curvature))

    def _weight(self, fixed: Image, moving: Image, index: np.ndarray) -> torch.Tensor:
        """Masks of both images on the fixed grid, (B, 1, *S); ones where there are none."""
        weight = fixed.weight()
        if moving.mask is None:
            return weight
        mask = moving.mask.to(weight.dtype)
        return weight * warp(mask, None, index, index[:, :-1], shape=fixed.grid.shape)[0]

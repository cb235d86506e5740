"""Log-demons: demons whose forces steer a velocity, so that the inverse is exact."""

import math
from dataclasses import dataclass

import torch

from coincide.kernels.smooth import gaussian
from coincide.kernels.update import compose
from coincide.optimisers.demons_pair import SHARES, Pair, flowed, one_of
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.space.grid import transform_vectors
from coincide.space.shapes import Field
from coincide.transforms.velocity import Velocity


@named("log_demons")
@dataclass(frozen=True)
class LogDemons(Optimiser):
    r"""Symmetric log-domain diffeomorphic demons, for velocity fields and `mse`.

    $$
    v \leftarrow G_{\text{field}} * \tfrac12 \big( Z(v, w) - Z(-v, w') \big), \qquad
    Z(v, w) = v + w + \tfrac12 [v, w]
    $$

    with $w$ the force of demons that brings the moving image to the fixed one, $w'$ the one that
    brings the fixed image to the moving one, both smoothed, and $Z$ the first terms of Baker,
    Campbell and Hausdorff, $[v, w] = (\nabla v) w - (\nabla w) v$. Exchanging the images gives the
    inverse. The velocity of the lowest cost is kept.

    Args:
        step: Longest force, voxels of the level (> 0).
        update: Standard deviation of the Gaussian on each update (a fluid), voxels of the level.
        field: Standard deviation of the Gaussian on the velocity (diffusion), voxels of the level.
        forces: Whose gradient: `fixed` (Thirion), `moving` (Gauss-Newton) or `symmetric`.

    References:
        Vercauteren et al. (2008), doi:10.1007/978-3-540-85988-8_90;
        Bossa et al. (2007), doi:10.1007/978-3-540-75757-3_81.
    """

    step: float = 1.0
    update: float = 0.0
    field: float = 1.0
    forces: str = "symmetric"

    def __post_init__(self):
        one_of("forces", self.forces, tuple(SHARES))

    def start(self, problem: Problem) -> "LogDemonsRun":
        """Begin on a level."""
        transform = problem.transform
        if not isinstance(transform, Velocity) or transform.grid != problem.fixed.grid:
            raise ValueError(
                f"log_demons move a velocity on the grid of the images, not "
                f"{type(transform).__name__}; use 'velocity', or demons on 'displacement'"
            )
        return LogDemonsRun(self, problem)


class LogDemonsRun(Run):
    """State of `LogDemons`: the velocity in voxels."""

    def __init__(self, rule: LogDemons, problem: Problem):
        self.rule, self.problem = rule, problem
        self.pair = Pair(problem, rule.step, SHARES[rule.forces])
        field = problem.transform.field.detach()  # type: ignore[union-attr]
        self.velocity: Field = transform_vectors(self.pair.grid.inverse[:-1, :-1], field)
        self.best, self.lowest = self.velocity, math.inf
        self.there, self.back = (torch.empty_like(self.velocity) for _ in range(2))

    def step(self) -> tuple[float, dict[str, float]]:
        """One force each way."""
        pair, velocity = self.pair, self.velocity
        one = pair.force(pair.fixed, *pair.warped(pair.moving, flowed(velocity)), self.there)
        # exp(-v) is the exact inverse of exp(v), so that both ways share one velocity
        other = pair.force(pair.moving, *pair.warped(pair.fixed, flowed(-velocity)), self.back)
        cost = (one + other) / 2
        # the cost is that of the velocity before this step
        if cost < self.lowest:
            self.best, self.lowest = velocity, cost
        for force in (self.there, self.back):
            gaussian(force, pair.sigma(self.rule.update), out=force)
        after = averaged(velocity, self.there, self.back)
        self.velocity = gaussian(after, pair.sigma(self.rule.field), out=after)
        return pair.weight * cost, {str(pair.term): cost}

    def finish(self) -> Velocity:
        """The velocity of the lowest cost, in millimetres."""
        grid, start = self.pair.grid, self.problem.transform
        world = transform_vectors(grid.affine[:-1, :-1], self.best)
        return Velocity(start.spacing, field=world, grid=grid)  # type: ignore[arg-type]


def averaged(velocity: Field, there: Field, back: Field) -> Field:
    r"""$\tfrac12 (Z(v, w) - Z(-v, w'))$, that is $v + d + \tfrac12 [v, m]$.

    Here d is half the difference and m half the sum of both updates; everything in voxels.
    """
    mean = (there + back) / 2
    # v + (∇v)m/2 + m/2 less m + (∇m)v/2 + v/2
    after = compose(velocity, mean, 0.5, out=torch.empty_like(mean))
    after -= compose(mean, velocity, 0.5, out=torch.empty_like(mean))
    return after.add_(velocity, alpha=0.5).add_(mean, alpha=0.5).add_(there - back, alpha=0.5)

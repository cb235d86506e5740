"""Demons: every voxel is pushed along the gradient of the images by their difference."""

import math
from dataclasses import dataclass

import torch

from coincide.kernels.smooth import gaussian
from coincide.kernels.warp import warp
from coincide.optimisers.demons_pair import SHARES, Pair, flowed, one_of
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.space.grid import transform_vectors
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement

COMPOSITIONS = ("diffeomorphic", "additive")


@named("demons")
@dataclass(frozen=True)
class Demons(Optimiser):
    r"""Thirion's demons and their diffeomorphic successors, for displacement fields and `mse`.

    $$
    w = G_{\text{update}} * \frac{(F - W)\, g}{\lVert g \rVert^2 + (F - W)^2 / 4 \ell^2}, \qquad
    u \leftarrow G_{\text{field}} * (u \circ w)
    $$

    where $g$ is the gradient of the fixed image, of the warped one, or their mean, and no force is
    longer than $\ell$ = `step`. The field $u$ is added to $w$, or composed with its exponential.
    The field of the lowest cost is kept.

    Args:
        step: Longest force, voxels of the level (> 0).
        update: Standard deviation of the Gaussian on each update (a fluid), voxels of the level.
        field: Standard deviation of the Gaussian on the field (diffusion), voxels of the level.
        forces: Whose gradient: `fixed` (Thirion), `moving` (Gauss-Newton) or `symmetric`.
        composition: `diffeomorphic`: composed with the exponential of the update; `additive`.

    References:
        Thirion (1998), doi:10.1016/S1361-8415(98)80022-4;
        Vercauteren et al. (2009), doi:10.1016/j.neuroimage.2008.10.040.
    """

    step: float = 1.0
    update: float = 0.0
    field: float = 1.0
    forces: str = "symmetric"
    composition: str = "diffeomorphic"

    def __post_init__(self):
        one_of("forces", self.forces, tuple(SHARES))
        one_of("composition", self.composition, COMPOSITIONS)

    def start(self, problem: Problem) -> "DemonsRun":
        """Begin on a level."""
        transform = problem.transform
        if not isinstance(transform, Displacement) or transform.grid != problem.fixed.grid:
            raise ValueError(
                f"demons move a displacement field on the grid of the images, not "
                f"{type(transform).__name__}; use 'displacement', or log_demons on 'velocity'"
            )
        return DemonsRun(self, problem)


class DemonsRun(Run):
    """State of `Demons`: the field in voxels."""

    def __init__(self, rule: Demons, problem: Problem):
        self.rule, self.problem = rule, problem
        self.pair = Pair(problem, rule.step, SHARES[rule.forces])
        field = problem.transform.field.detach()  # type: ignore[union-attr]
        self.field: Field = transform_vectors(self.pair.grid.inverse[:-1, :-1], field)
        self.best, self.lowest = self.field, math.inf
        self.force = torch.empty_like(self.field)

    def step(self) -> tuple[float, dict[str, float]]:
        """One force, smoothed, composed and smoothed."""
        pair = self.pair
        warped, mask = pair.warped(pair.moving, self.field)
        cost = pair.force(pair.fixed, warped, mask, self.force)
        # the cost is that of the field before this step
        if cost < self.lowest:
            self.best, self.lowest = self.field, cost
        gaussian(self.force, pair.sigma(self.rule.update), out=self.force)
        if self.rule.composition == "additive":
            after = self.field + self.force
        else:
            small = flowed(self.force)
            index, scale = pair.identity
            # u ∘ (id + w) + w: the small one acts first; the border goes on, or the rim would tear
            after = warp(self.field, small, index, scale, clamp=True)[0].add_(small)
        self.field = gaussian(after, pair.sigma(self.rule.field), out=after)
        return pair.weight * cost, {str(pair.term): cost}

    def finish(self) -> Displacement:
        """The displacement of the lowest cost, in millimetres."""
        grid, start = self.pair.grid, self.problem.transform
        world = transform_vectors(grid.affine[:-1, :-1], self.best)
        return Displacement(start.spacing, field=world, grid=grid)  # type: ignore[arg-type]

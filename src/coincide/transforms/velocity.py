"""Velocity: a stationary velocity field whose exponential is the transform."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.update import exponential, largest
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import jacobian_at
from coincide.transforms.parameter import frozen_like
from coincide.transforms.sampled import Sampled, composed, displaced, displaced_jacobian


@named("velocity")
class Velocity(Sampled):
    r"""Diffeomorphism $T = \exp(v)$: points flow along $v$ for unit time.

    The exponential is taken by scaling and squaring, with as many squarings as keep every step
    below half a voxel: of each pair of a batch as many as it needs alone, so that pairs do not
    influence each other. The inverse is exact: $\exp(-v)$.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S) velocity, mm for unit time, world axes; None: zero.
        grid: Where the voxels of `field` lie.

    References:
        Arsigny et al. (2006), doi:10.1007/11866565_113.
    """

    def integrated(self) -> Field:
        """Displacement exp(v) - id on the grid of the velocity, mm, (B, D, *S)."""
        own = self._placed()
        return integrated(self.field, own)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else displaced(points, self.integrated(), self.grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return composed(self.integrated(), self._placed(), grid, inner)

    def inverse(self) -> "Velocity":
        """The flow backwards in time."""
        own = self._placed()
        return frozen_like(Velocity(self.spacing, field=-self.field, grid=own), self)


@jacobian_at.register
def _(transform: Velocity, points: Points) -> Tensor:
    own = transform._placed()
    return displaced_jacobian(points, transform.integrated(), own)


def integrated(velocity: Field, grid: Grid) -> Field:
    """Displacement of the flow along a velocity for unit time, mm, (B, D, *S)."""
    to_voxels = grid.inverse[:-1, :-1]
    metric, identity = to_voxels.T @ to_voxels, np.eye(grid.dim, grid.dim + 1)
    # in voxels, as this is the metric of the matrix from mm to voxels
    longest = [largest(one, metric) for one in velocity.detach().split(1)]
    counts = [max(0, int(np.ceil(np.log2(max(length, 1e-9) / 0.5)))) for length in longest]
    if len(set(counts)) == 1:
        return exponential(velocity, identity, to_voxels, counts[0])
    # the number of squarings shows in the result, so one pair must not decide it for another
    pairs = zip(velocity.split(1), counts, strict=True)
    return torch.cat([exponential(one, identity, to_voxels, count) for one, count in pairs])

"""Dual: a smooth network and one for detail, which is switched on where voxels become finer."""

from typing import Self

import torch
from torch import Tensor

from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.implicit import Implicit
from coincide.transforms.read_out import read_out_of
from coincide.transforms.siren import Siren

SHARE = 0.5  # of the fine network in its outputs, beside the coarse one: it takes smaller steps


@named("dual")
class Dual(Implicit):
    r"""Sum of a coarse and of a fine implicit displacement: $T(x) = x + u_1(x) + \tfrac12 u_2(x)$.

    $u_1$ is a `siren` of a low frequency and $u_2$ one of a high frequency, which begins at zero.
    On the grid that it is first put on, the coarsest level, only $u_1$ is moved; from the first
    finer grid on both are, together. With one level alone there is no detail, and it is a `siren`.

    Args:
        width: Of the hidden layers of each.
        depth: Number of hidden layers.
        coarse: Frequency of the first, as `omega` of `siren` (> 0).
        fine: Frequency of the second (> 0).
        seed: Of the first weights of the coarse network; those of the fine one are of the next.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        The coarse and fine pair that RightPriorDIR (2025) evaluates as Dual-INR,
        github.com/HengjieLiu/RightPriorDIR.
    """

    optimiser = "sampled"

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        coarse: float = 10.0,
        fine: float = 30.0,
        seed: int = 0,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.width, self.depth, self.coarse, self.fine = width, depth, coarse, fine
        self.seed, self.grid = seed, grid
        positive(self, "width", "depth", "coarse", "fine")
        if grid is not None:
            self.smooth = Siren(width, depth, coarse, seed=seed, grid=grid)
            # moved once a finer grid asks for it
            self.detail = Siren(width, depth, fine, seed=seed + 1, grid=grid).requires_grad_(False)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else points + self.shift(points)

    def shift(self, points: Points) -> Points:
        """How far points (B, P, D) go, mm."""
        self.placed()
        return self.smooth.shift(points) + SHARE * self.detail.shift(points)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        self.placed()
        return read_out_of(self, self.shift, grid, inner)

    def on(self, grid: Grid) -> Self:
        """A copy with the same map, whose detail may be moved if this grid is finer than its own.

        Two new networks over `grid`, if it lies nowhere yet.
        """
        made = super().on(grid)
        if self.grid is not None and grid.finest < self.grid.finest:
            # what is frozen as a whole stays so
            free = any(held.requires_grad for held in self.smooth.parameters())
            made.detail.requires_grad_(free)
        return made


@jacobian_at.register
def _(transform: Dual, points: Points) -> Tensor:
    identity = torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
    slope = jacobian_at(transform.detail, points) - identity
    return jacobian_at(transform.smooth, points) + SHARE * slope


@hessian_at.register
def _(transform: Dual, points: Points) -> Tensor:
    curve = hessian_at(transform.detail, points)
    return hessian_at(transform.smooth, points) + SHARE * curve

"""Siren velocity: the flow along a velocity held in the weights of a small network."""

import copy

import torch

from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.implicit import Implicit
from coincide.transforms.parameter import frozen_like
from coincide.transforms.read_out import read_out_of
from coincide.transforms.siren import Siren


@named("siren_velocity")
class SirenVelocity(Implicit):
    r"""Implicit stationary velocity: $T = \phi_1$ with $\dot\phi_t = v_\theta(\phi_t)$.

    Points follow a velocity that a sine network gives, from time 0 to 1, by Runge and Kutta's
    steps of fourth order. The map folds nowhere if the steps are short enough, and going back in
    time undoes it. Each step asks the network four times, so that it costs 4 `steps` times as much
    as a `siren`.

    Args:
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the velocity may be (> 0).
        steps: From time 0 to 1 (>= 1).
        seed: Of the first weights.
        backward: Whether it follows the velocity backwards.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        Han et al. (2023), Diffeomorphic image registration with neural velocity field (DNVF),
        doi:10.1109/WACV56688.2023.00191.
    """

    optimiser = "adam(rate=0.002)"  # of a weight of the network, which has no unit

    def __init__(
        self,
        width: int = 64,
        depth: int = 2,
        omega: float = 8.0,
        steps: int = 4,
        seed: int = 0,
        backward: bool = False,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.width, self.depth, self.omega = width, depth, omega
        self.steps, self.seed, self.backward, self.grid = steps, seed, backward, grid
        positive(self, "width", "depth", "omega", "steps")
        if grid is not None:
            self.velocity = Siren(width, depth, omega, seed=seed, grid=grid)

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold a network: the grid that it was first put on."""
        return self.grid

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else points + self.shift(points)

    def shift(self, points: Points) -> Points:
        """How far points (B, P, D) go, mm."""
        self.placed()
        step = (-1 if self.backward else 1) / self.steps
        gone = torch.zeros_like(points)
        for _ in range(self.steps):
            here = points + gone
            first = self.velocity.shift(here)
            second = self.velocity.shift(here + step / 2 * first)
            third = self.velocity.shift(here + step / 2 * second)
            fourth = self.velocity.shift(here + step * third)
            gone = gone + step / 6 * (first + 2 * second + 2 * third + fourth)
        return gone

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        self.placed()
        return read_out_of(self, self.shift, grid, inner)

    def inverse(self) -> "SirenVelocity":
        """The flow backwards in time."""
        made = copy.deepcopy(self)
        made.backward = not self.backward
        return frozen_like(made, self)

"""Conditional siren: one network for all weights of smoothness, chosen after the fit."""

import copy

import torch
from torch import nn

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.implicit import Implicit
from coincide.transforms.newton import Newton
from coincide.transforms.siren import Siren
from coincide.transforms.told import Told

PACE = 0.25  # of λ beside places, which reach 1: maps of near weights share what they know


@named("siren_conditional")
class SirenConditional(Implicit):
    r"""Implicit displacements for every weight of the penalties: $x + A\, f_\theta(x, \lambda)$.

    The network is told the weight $\lambda$ beside the place and lowers, for a $\lambda$ that
    `sampled` draws anew in every step,

    $$ (1 - \lambda)\, S(F, M \circ T_\lambda) + \lambda\, R(T_\lambda) $$

    with all penalties of the objective in R, so that $\lambda$ may be slid after the fit: 0.5
    stands for the objective as it is written, 0.9 for penalties nine times as heavy, 0.1 for a
    ninth. The transform is that of `weight`, which may be set; `at` gives the plain `siren` of any
    other. A fit for all weights wants two to three times the steps of one.

    Args:
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the displacement may be: 5 to 10 for smooth ones, 30 for detail (> 0).
        activation: `sine`, `relu` or `fourier`; see `CoordinateNetwork`.
        seed: Of the first weights.
        weight: Which λ it shows, from 0 to 1. Where nobody chooses, 0.5.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        cIDIR (2025), arXiv:2507.12953. Mok, Chung (2021), arXiv:2106.12673, for λ.
    """

    optimiser = "sampled"

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        omega: float = 10.0,
        activation: str = "sine",
        seed: int = 0,
        weight: float = 0.5,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.width, self.depth, self.omega, self.activation = width, depth, omega, activation
        self.seed, self.grid = seed, grid
        self.weight = weight
        positive(self, "width", "depth", "omega")
        if grid is not None:
            self.network = CoordinateNetwork(
                grid.dim + 1,
                grid.dim,
                width=width,
                depth=depth,
                omega=omega,
                activation=activation,
                seed=seed,
                small=0.0,
            )

    @property
    def weight(self) -> float:
        """Which λ it shows; set it to slide, from 0 to 1."""
        return self._weight

    @weight.setter
    def weight(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"siren_conditional takes a weight from 0 to 1, not {value}")
        self._weight = float(value)

    def at(self, weight: float) -> Siren:
        """The plain transform of a weight λ from 0 to 1, with weights of its own."""
        one = copy.copy(self)
        one.weight = weight
        return one.now().plain()

    def now(self) -> Told:
        """The map of its weight, on the same network."""
        grid = self.placed()
        return Told(self.network, grid, torch.tensor([PACE * (2 * self.weight - 1)]))

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else self.now()(points)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return self.now().displacement(grid, inner)

    def inverse(self) -> Newton:
        """The map back at its weight, point by point, by Newton's iteration."""
        return Newton(self.now())


def conditional(transform: nn.Module) -> list[SirenConditional]:
    """The members of a transform that are fitted for all weights of the penalties at once."""
    return [member for member in transform.modules() if isinstance(member, SirenConditional)]


@jacobian_at.register
def _(transform: SirenConditional, points: Points) -> torch.Tensor:
    return jacobian_at(transform.now(), points)


@hessian_at.register
def _(transform: SirenConditional, points: Points) -> torch.Tensor:
    return hessian_at(transform.now(), points)

"""SINR: a network of coordinates says where the control points of a B-spline go."""

import numpy as np
import torch
from torch import Tensor

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import named, positive
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, PerPair, Points
from coincide.transforms.control_points import ControlPoints, bending_form, lattice, spread_over
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.design import Design, design
from coincide.transforms.implicit import Implicit

FINER = 4  # steps of the field that stands in for it where one must, in a control-point distance


@named("sinr")
class SINR(Implicit):
    r"""Implicit control points: $u(x) = \sum_n f_\theta(p_n) \prod_d B_3(t_d(x) - n_d)$.

    A sine network f moves the control points $p_n$ of a cubic B-spline. As the network is asked at
    the control points alone, the displacement of a whole image is cheap, so that `nmi`, `lncc` and
    `ngf` see all of it; and the network ties neighbouring control points together, so that no
    pyramid of control points is needed. Coordinates are those of the grid it was first put on, as
    in `siren`; the control points lie as far apart from the first level to the last, so that a
    finer grid changes nothing.

    Args:
        spacing: Distance of the control points, mm (> 0).
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the displacement may be: 5 to 10 for smooth ones, 20 for detail (> 0).
        seed: Of the first weights.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        Sideri-Lampretsa et al. (2024), SINR: Spline-enhanced implicit neural representation for
        multi-modal registration, PMLR 250.
    """

    optimiser = "adam(rate=0.002)"  # of a weight of the network, which has no unit

    def __init__(
        self,
        spacing: float = 8.0,
        width: int = 128,
        depth: int = 2,
        omega: float = 10.0,
        seed: int = 0,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.width, self.depth = spacing, width, depth
        self.omega, self.seed, self.grid = omega, seed, grid
        positive(self, "spacing", "width", "depth", "omega")
        if grid is not None:
            self.lattice = lattice(grid, spacing)
            self.network = CoordinateNetwork(
                grid.dim, grid.dim, width=width, depth=depth, omega=omega, seed=seed, small=0.0
            )

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold it: four times finer than the control points."""
        if self.grid is None:
            return None
        affine = self.lattice.affine.copy()
        affine[:-1, :-1] /= FINER
        affine[:-1, -1] = self.lattice.to_world(np.ones(self.lattice.dim))
        return Grid(tuple((n - 3) * FINER + 1 for n in self.lattice.shape), affine)

    def control_points(self) -> ControlPoints:
        """Where the network moves the control points, mm, as functions of it."""
        own = self.placed()
        moved = self.network(self.places()) @ tensor(own.direction, self.network.last.weight).T
        half = float(own.extent.max()) / 2
        values = (half * moved).T.reshape(1, own.dim, *self.lattice.shape)
        return ControlPoints(values, self.lattice)

    def places(self) -> Tensor:
        """The control points in coordinates of the network, (K, D)."""
        own = self.placed()
        place = self.lattice.to_world(np.moveaxis(np.indices(self.lattice.shape), 0, -1))
        scaled = (place - own.centre) @ own.direction / (own.extent.max() / 2)
        return tensor(scaled.reshape(-1, own.dim), self.network.last.weight)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else self.control_points().moved(points)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S); separable where axes agree."""
        return self.control_points().displacement(grid, inner)

    def bending(self) -> PerPair:
        """Mean over the domain of the squared second derivatives, 1/mm², in closed form, (B,)."""
        return self.control_points().bending()


class SINRDesign(Design):
    """Implicit control points are linear in the last layer of their network.

    Args:
        transform: Put on a grid.
    """

    def __init__(self, transform: SINR):
        self.transform, self.last = transform, transform.network.last
        self.form = bending_form(transform.lattice)
        with torch.no_grad():
            self.features = transform.network.features(transform.places())
        own = transform.placed()
        self.out = torch.as_tensor(own.direction * (own.extent.max() / 2))

    @property
    def weights(self) -> Tensor:
        """Last layer and its bias in mm of the world, (K, D)."""
        both = torch.cat([self.last.weight, self.last.bias[:, None]], 1).detach()
        return (self.out.to(both) @ both).T

    def put(self, weights: Tensor) -> None:
        """Change the last layer."""
        both = torch.linalg.solve(self.out.to(weights.device), weights.double().T)
        self.last.weight.data.copy_(both[:, :-1])
        self.last.bias.data.copy_(both[:, -1])

    def matrix(self, points: Tensor) -> Tensor:
        """The last hidden layer at the control points about each point, (P, K)."""
        return spread_over(self.transform.lattice, points) @ self.features.to(points.dtype)

    def bent(self, weights: Tensor, points: Tensor) -> Tensor:  # noqa: ARG002
        """In closed form."""
        features = self.features.to(weights.dtype)
        field = (features @ weights).T.reshape(1, -1, *self.transform.lattice.shape)
        return features.T @ self.form(field)[0].flatten(1).T

    def stiffness(self, points: Tensor) -> Tensor:
        """In closed form."""
        eye = torch.eye(self.features.shape[1]).to(points)
        return self.bent(eye, points).diagonal()


@design.register
def _(transform: SINR) -> Design:
    return SINRDesign(transform)


@jacobian_at.register
def _(transform: SINR, points: Points) -> Tensor:
    return transform.control_points().jacobian(points)


@hessian_at.register
def _(transform: SINR, points: Points) -> Tensor:
    return transform.control_points().hessian(points)

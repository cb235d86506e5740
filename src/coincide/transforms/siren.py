"""Siren: a displacement held in the weights of a small network of coordinates."""

import numpy as np
import torch
from torch import Tensor

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import named, positive
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.design import Design, design
from coincide.transforms.implicit import Implicit
from coincide.transforms.read_out import read_out_of


@named("siren")
class Siren(Implicit):
    r"""Implicit displacement: $T(x) = x + A\, f_\theta(A^{-1}(x - c))$, f a small network.

    Nothing is stored but the weights, which know the displacement and its derivatives at any
    point. Coordinates are those of the grid it was first put on: c is its centre, A turns its axes
    to those of the world and scales by half its longest side, the same along each axis, so that
    the frequency `omega` means the same in every direction. Finer grids change nothing.

    It is not the fastest nor the most accurate of transforms; see the guide on implicit
    transforms for what it is good for.

    Args:
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the displacement may be: 5 to 10 for smooth ones, 30 for detail (> 0).
        activation: `sine`, `relu`, `fourier` or `hash`; see `CoordinateNetwork`. All but `sine`
            and `fourier` know first derivatives only.
        seed: Of the first weights.
        unit_cube: Coordinates and first weights as published by Wolterink et al.: each axis runs
            from -1 to 1 between the centres of its outermost voxels, however long it is, and the
            last layer does not begin at 0, so that neither does the displacement.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        Sitzmann et al. (2020), arXiv:2006.09661. Wolterink, Zwienenberg, Brune (2022), Implicit
        neural representations for deformable image registration, PMLR 172.
    """

    optimiser = "sampled"

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        omega: float = 10.0,
        activation: str = "sine",
        seed: int = 0,
        unit_cube: bool = False,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.width, self.depth, self.omega, self.activation = width, depth, omega, activation
        self.seed, self.unit_cube, self.grid = seed, unit_cube, grid
        positive(self, "width", "depth", "omega")
        if grid is not None:
            self.network = CoordinateNetwork(
                grid.dim,
                grid.dim,
                width=width,
                depth=depth,
                omega=omega,
                activation=activation,
                seed=seed,
                small=1.0 if unit_cube else 0.0,
            )

    def axes(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A (D, D) from coordinates of the network to mm, its inverse, and the centre (D,)."""
        grid = self.placed()
        if not self.unit_cube:
            return axes_of(grid, like)
        return axes_of(grid, like, grid.spacing * np.maximum(np.array(grid.shape) - 1, 1) / 2)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else points + self.shift(points)

    def shift(self, points: Points) -> Points:
        """How far points (B, P, D) go, mm."""
        out, back, centre = self.axes(points)
        return self.network((points - centre) @ back.T).to(points.dtype) @ out.T

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S).

        Without a gradient a large grid is read out on a lattice, right to 0.005 mm.
        """
        self.placed()
        return read_out_of(self, self.shift, grid, inner)


def axes_of(
    grid: Grid, like: Tensor, half: np.ndarray | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """From coordinates along the axes of a grid to mm, (D, D), the inverse, and the centre (D,).

    Args:
        grid: Whose centre is their zero.
        like: Whose number type and device they get.
        half: Length of 1 along each axis, mm; None: half the longest side, along all.
    """
    matrix = grid.direction * (np.full(grid.dim, grid.extent.max() / 2) if half is None else half)
    return tensor(matrix, like), tensor(np.linalg.inv(matrix), like), tensor(grid.centre, like)


class SirenDesign(Design):
    """A siren is linear in its last layer while the layers before it are left as they are.

    Args:
        transform: Put on a grid.
    """

    def __init__(self, transform: Siren):
        self.transform, self.last = transform, transform.network.last

    @property
    def weights(self) -> Tensor:
        """Last layer and its bias in mm of the world, (K, D)."""
        both = torch.cat([self.last.weight, self.last.bias[:, None]], 1).detach()
        out, _, _ = self.transform.axes(both)
        return (out @ both).T

    def put(self, weights: Tensor) -> None:
        """Change the last layer."""
        out, _, _ = self.transform.axes(weights.double())
        both = torch.linalg.solve(out, weights.double().T)
        self.last.weight.data.copy_(both[:, :-1])
        self.last.bias.data.copy_(both[:, -1])

    @torch.no_grad()
    def matrix(self, points: Tensor) -> Tensor:
        """The last hidden layer and a 1, (P, K)."""
        _, back, centre = self.transform.axes(points)
        return self.transform.network.features((points - centre) @ back.T).to(points.dtype)

    def bent(self, weights: Tensor, points: Tensor) -> Tensor:
        """Sampled at the points."""
        curve = self._curve(points).to(weights.dtype)
        return curve.T @ (curve @ weights)

    def stiffness(self, points: Tensor) -> Tensor:
        """Sampled at the points."""
        return self._curve(points).square().sum(0)

    @torch.no_grad()
    def _curve(self, points: Tensor) -> Tensor:
        """Second derivatives of every function, (P D D, K), such that B is their Gram matrix."""
        _, back, centre = self.transform.axes(points)
        curve = self.transform.network.feature_jets((points - centre) @ back.T, 2)[2]
        curve = torch.einsum("pkab,ai,bj->pijk", curve, back.to(curve), back.to(curve))
        return (curve.flatten(0, 2) / len(points) ** 0.5).to(points.dtype)


@design.register
def _(transform: Siren) -> Design:
    return SirenDesign(transform)


@jacobian_at.register
def _(transform: Siren, points: Points) -> Tensor:
    out, back, centre = transform.axes(points)
    flat = ((points - centre) @ back.T).flatten(0, 1)
    slope = transform.network.jets(flat, 1)[1].to(points.dtype)
    identity = torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
    return (identity + out @ slope @ back).unflatten(0, points.shape[:2])


@hessian_at.register
def _(transform: Siren, points: Points) -> Tensor:
    out, back, centre = transform.axes(points)
    flat = ((points - centre) @ back.T).flatten(0, 1)
    curve = transform.network.jets(flat, 2)[2].to(points.dtype)
    curve = torch.einsum("ia,pabc,bj,ck->pijk", out, curve, back, back)
    return curve.unflatten(0, points.shape[:2])

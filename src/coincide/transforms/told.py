"""Told: a network of coordinates that is told a few numbers; each choice of them is a siren."""

from typing import Self

import torch
from torch import Tensor

from coincide.networks.coordinates import CoordinateNetwork
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.implicit import sampling_grid
from coincide.transforms.newton import Newton
from coincide.transforms.read_out import read_out_of
from coincide.transforms.siren import Siren, axes_of
from coincide.transforms.transform import Transform


class Told(Transform):
    r"""One of the maps of a network that many share: $T(x) = x + A\, f_\theta(A^{-1}(x - c), z)$.

    z are numbers that the network is told beside the place: how smooth to be, or which pair it is
    asked about. As they enter the first layer alone, together with the place, a change of its bias
    does the same: with z as it is, this is a `siren`, which `plain` returns.

    Args:
        network: Of D coordinates and K numbers; shared, not copied.
        grid: Whose axes its coordinates are.
        told: The K numbers z, with or without a gradient.
    """

    def __init__(self, network: CoordinateNetwork, grid: Grid, told: Tensor):
        super().__init__()
        self.network, self.grid, self.told = network, grid, told

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold a network."""
        return sampling_grid(self.grid)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points + self.shift(points)

    def shift(self, points: Points) -> Points:
        """How far points (B, P, D) go, mm."""
        out, _, _ = axes_of(self.grid, points)
        return self.network(self.asked(points)).to(points.dtype) @ out.T

    def asked(self, points: Points) -> Tensor:
        """What the network is asked for points (B, P, D) in mm: (B, P, D + K)."""
        _, back, centre = axes_of(self.grid, points)
        told = self.told.to(points).expand(*points.shape[:2], -1)
        return torch.cat([(points - centre) @ back.T, told], -1)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return read_out_of(self, self.shift, grid, inner)

    def inverse(self) -> Newton:
        """The map back, point by point, by Newton's iteration."""
        return Newton(self)

    def on(self, grid: Grid) -> Self:  # noqa: ARG002
        """The same: one network serves every grid."""
        return self

    def plain(self) -> Siren:
        """A siren of its own weights with the same map, to keep, save and move alone."""
        network, dim = self.network, self.grid.dim
        width, depth = network.last.in_features, len(network.layers)
        made = Siren(width, depth, network.omega, network.activation, grid=self.grid)
        made = made.to(network.last.weight)
        state = {key: values.detach().clone() for key, values in network.state_dict().items()}
        first, told = ("frequencies", "phases"), self.told.detach().to(network.last.weight)
        if network.activation != "fourier":
            first = ("layers.0.weight", "layers.0.bias")
        state[first[1]] = state[first[1]] + state[first[0]][:, dim:] @ told
        state[first[0]] = state[first[0]][:, :dim].clone()
        made.network.load_state_dict(state)
        return made


@jacobian_at.register
def _(transform: Told, points: Points) -> Tensor:
    slope = _jets(transform, points, 1)
    identity = torch.eye(points.shape[2], dtype=points.dtype, device=points.device)
    out, back, _ = axes_of(transform.grid, points)
    return identity + out @ slope @ back


@hessian_at.register
def _(transform: Told, points: Points) -> Tensor:
    out, back, _ = axes_of(transform.grid, points)
    return torch.einsum("ia,npabc,bj,ck->npijk", out, _jets(transform, points, 2), back, back)


def _jets(transform: Told, points: Points, order: int) -> Tensor:
    """Derivatives of that order in coordinates of the network, (B, P, D, ...)."""
    flat = transform.asked(points).flatten(0, 1)
    jet = transform.network.jets(flat, order, transform.grid.dim)[order]
    return jet.to(points.dtype).unflatten(0, points.shape[:2])

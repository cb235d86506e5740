"""A transform that is a coordinate network: what a user may write, and no part of the package."""

from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import nn

from coincide.registry import PARTS, named
from coincide.space.grid import tensor
from coincide.transforms.displacement import Displacement, inverted
from coincide.transforms.parameter import frozen_like
from coincide.transforms.transform import Transform

NAME = "coordinate_network"


class CoordinateNetwork(Transform):
    """x + u(x), where u is a small network with sine activations in the axes of a grid.

    Args:
        width: Of the two hidden layers.
        omegas: Frequency of each of the hidden layers.
        label: Any text, kept.
        grid: Where x is between -1 and 1, about; None: set by `on`.
    """

    def __init__(self, width=12, omegas=(1.5, 1.0), *, label="", grid=None):
        super().__init__()
        self.width, self.omegas, self.label, self.grid = width, omegas, label, grid
        if grid is None:
            return
        generator = torch.Generator().manual_seed(0)
        sizes = (grid.dim, width, width, grid.dim)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        with torch.no_grad():
            for layer in self.layers:
                drawn = torch.randn(layer.weight.shape, generator=generator)
                layer.weight.copy_(drawn / layer.in_features**0.5)
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator))
            self.layers[-1].weight.zero_()
            self.layers[-1].bias.zero_()

    def forward(self, points):
        if self.grid is None:
            return points
        axes, centre = tensor(self.grid.direction, points), tensor(self.grid.centre, points)
        place = (points - centre) @ axes / (self.grid.extent.max() / 2)
        hidden = place.to(self.layers[0].weight.dtype)
        for omega, layer in zip(self.omegas, self.layers, strict=False):
            hidden = torch.sin(omega * layer(hidden))
        return points + self.layers[-1](hidden).to(points.dtype) @ axes.T

    def displacement(self, grid, inner=None):
        if self.grid is None:
            raise ValueError("this network has no grid yet; call .on(grid) first")
        points = grid.points()
        if inner is not None:
            points = points + inner.double().flatten(2).transpose(1, 2)
        moved = self(points) - grid.points()
        return moved.transpose(1, 2).reshape(-1, grid.dim, *grid.shape).float()

    def inverse(self):
        field = inverted(self.displacement(self.grid), self.grid)
        return frozen_like(Displacement(field=field, grid=self.grid), self)

    def on(self, grid):
        return self if self.grid else CoordinateNetwork(self.width, self.omegas, grid=grid)


@contextmanager
def registered(kind=CoordinateNetwork, name=NAME):
    """While entered, the class is a part of that name."""
    named(name)(kind)
    try:
        yield
    finally:
        del PARTS[name]
        del kind.name


def shaken(network, *, seed=0, size=1.0):
    """Random weights of the last layer, so that points move by about `size` mm, and more."""
    generator = torch.Generator().manual_seed(seed)
    last = network.layers[-1]
    with torch.no_grad():
        for parameter, scale in ((last.weight, last.in_features**-0.5), (last.bias, 0.5)):
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(size * scale * drawn)
    return network

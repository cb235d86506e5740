"""Batch: transforms of several pairs as one."""

import copy
from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import nn

from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform


class Batch(Transform):
    """One transform a pair, of any kinds.

    Args:
        pairs: B transforms of one pair each.
    """

    def __init__(self, pairs: Sequence[Transform]):
        super().__init__()
        self.pairs = nn.ModuleList(pairs)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, of points (B or 1, P, D)."""
        points = points.expand(len(self.pairs), *points.shape[1:])
        return torch.cat([pair(points[b : b + 1]) for b, pair in enumerate(self.pairs)])

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        if inner is not None:
            inner = inner.expand(len(self.pairs), *inner.shape[1:])
        return torch.cat(
            [
                pair.displacement(grid, None if inner is None else inner[b : b + 1])  # type: ignore[operator]
                for b, pair in enumerate(self.pairs)
            ]
        )

    def inverse(self) -> "Batch":
        """The inverse of each."""
        return Batch([pair.inverse() for pair in self.pairs])  # type: ignore[operator]

    def on(self, grid: Grid) -> "Batch":
        """Each expressed on `grid`."""
        return Batch([pair.on(grid) for pair in self.pairs])  # type: ignore[operator]


def joined(pairs: Sequence[Transform]) -> Transform:
    """Transforms of one pair each as one of B."""
    return pairs[0] if len(pairs) == 1 else Batch(pairs)


@singledispatch
def one_of(transform: Transform, pair: int, count: int) -> Transform:
    """The transform of one pair of `count`; of one that serves all, a copy of its own."""
    if count == 1:
        return transform
    one = copy.deepcopy(transform)
    for parameter in one.parameters():
        if parameter.shape[0] == count and not _holds_network(one):
            # a copy, since a slice would keep the whole batch in memory
            parameter.data = parameter.data[pair : pair + 1].clone()
    return one


@one_of.register
def _(transform: Batch, pair: int, count: int) -> Transform:
    if count != len(transform.pairs):
        raise ValueError(f"a transform of {len(transform.pairs)} pairs for {count} pairs of images")
    return transform.pairs[pair]  # type: ignore[return-value]


@one_of.register
def _(transform: Linear, pair: int, count: int) -> Transform:
    if count == 1 or not hasattr(transform, "shift") or len(transform.shift) == 1:
        return transform if count == 1 else copy.deepcopy(transform)
    matrix = transform.matrix()[pair].detach().cpu().numpy()
    centre = transform.centre.cpu().numpy()
    return type(transform)(matrix, centre=centre, radius=transform.radius)


def _holds_network(transform: Transform) -> bool:
    """Whether parameters have no axis of pairs, as the weights of a network."""
    return any(not isinstance(module, Transform) for module in transform.modules())

"""Composite: transforms applied one after the other."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.transform import Transform


class Composite(Transform):
    """Several transforms as one; the last in the list acts first, as in mathematics.

    Args:
        transforms: Outermost first; composites among them are taken apart.
    """

    def __init__(self, transforms: Sequence[Transform]):
        super().__init__()
        self.transforms = nn.ModuleList(_flat(transforms))

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)  # type: ignore[arg-type]

    def forward(self, points: Points) -> Points:
        """Positions after all transforms, (B, P, D) mm."""
        for transform in reversed(self.transforms):
            points = transform(points)
        return points

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement of the whole chain, mm, (B, D, *S)."""
        for transform in reversed(self.transforms):
            inner = transform.displacement(grid, inner)  # type: ignore[operator]
        assert inner is not None
        return inner

    def inverse(self) -> "Composite":
        """Inverses in reverse order."""
        return Composite([transform.inverse() for transform in reversed(self.transforms)])  # type: ignore[operator]

    def on(self, grid: Grid) -> "Composite":
        """Every member expressed on `grid`."""
        return Composite([transform.on(grid) for transform in self.transforms])  # type: ignore[operator]


def _flat(transforms: Sequence[Transform]) -> list[Transform]:
    flat: list[Transform] = []
    for transform in transforms:
        flat.extend(transform if isinstance(transform, Composite) else [transform])
    return flat


@jacobian_at.register
def _(transform: Composite, points: Points) -> Tensor:
    dim = points.shape[2]
    total = torch.eye(dim, dtype=points.dtype, device=points.device)
    total = total.expand(*points.shape, dim)
    for member in reversed(list(transform)):
        # each factor at where the members before it have brought the points
        total = jacobian_at(member, points) @ total
        points = member(points)
    return total


@hessian_at.register
def _(transform: Composite, points: Points) -> Tensor:
    dim = points.shape[2]
    first = torch.eye(dim, dtype=points.dtype, device=points.device).expand(*points.shape, dim)
    second = points.new_zeros(*points.shape, dim, dim)
    for member in reversed(list(transform)):
        slope, curve = jacobian_at(member, points), hessian_at(member, points)
        # of f(g(x)): f''(g', g') + f' g''
        second = torch.einsum("bpiac,bpaj,bpck->bpijk", curve, first, first) + torch.einsum(
            "bpia,bpajk->bpijk", slope, second
        )
        first = slope @ first
        points = member(points)
    return second

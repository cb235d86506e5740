"""Control points: a cubic B-spline displacement as a function of its control points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, PerPair, Points
from coincide.transforms.bspline_basis import basis, gram, separable, spread
from coincide.transforms.displacement import inverted

Form = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ControlPoints:
    r"""The displacement $u(x) = \sum_n c_n \prod_d B_3(t_d(x) - n_d)$ and all that follows from c.

    It does not matter whether the control points are parameters or what a network computed; every
    answer is differentiable in them.

    Args:
        values: (B, D, *M) control points, mm, world axes.
        grid: Where they lie, (M...) shape; the domain runs from the second control point to the
            last but two of each axis, and outside there is no displacement.
    """

    values: Tensor
    grid: Grid

    def moved(self, points: Points) -> Points:
        """Points (B, P, D), mm, after the displacement, evaluated exactly."""
        return points + self.derivative(points, (0,) * self.grid.dim)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S); separable where axes agree."""
        own = self.grid
        if inner is not None:
            moved = grid.points(torch.float32).to(inner.device) + inner.flatten(2).transpose(1, 2)
            shift = (self.moved(moved) - moved).transpose(1, 2)
            return inner + shift.reshape(-1, *inner.shape[1:])
        index = grid.index_in(own)
        linear = index[:-1, :-1]
        # a separable product needs voxel axes along those of the lattice; else point by point
        if not np.allclose(linear, np.diag(np.diag(linear)), atol=1e-6):
            points = grid.points(torch.float32).to(self.values.device)
            shift = (self.moved(points) - points).transpose(1, 2)
            return shift.reshape(-1, grid.dim, *grid.shape)
        matrices = [
            spread(index[d, d] * np.arange(n) + index[d, -1], own.shape[d])
            for d, n in enumerate(grid.shape)
        ]
        return separable(self.values, matrices)

    def inverse(self) -> tuple[Field, Grid]:
        """Numerical inverse on a grid of half the control-point distance, mm."""
        own = self.grid
        # the domain alone, from the second control point on, in half steps
        shape = tuple(2 * (n - 3) + 1 for n in own.shape)
        affine = own.affine.copy()
        affine[:-1, :-1] /= 2
        affine[:-1, -1] = own.to_world(np.ones(own.dim))
        grid = Grid(shape, affine)
        return inverted(self.displacement(grid), grid), grid

    def bending(self) -> PerPair:
        """Mean over the domain of the squared second derivatives, 1/mm², in closed form, (B,)."""
        return (bending_form(self.grid)(self.values) * self.values).flatten(1).sum(1)

    def jacobian(self, points: Points) -> Tensor:
        """First derivatives of where points go, (B, P, D, D)."""
        dim = self.grid.dim
        columns = [self.derivative(points, _orders(dim, a)) for a in range(dim)]
        to_index = tensor(self.grid.inverse[:-1, :-1], points)
        identity = torch.eye(dim, dtype=points.dtype, device=points.device)
        return torch.stack(columns, -1) @ to_index + identity

    def hessian(self, points: Points) -> Tensor:
        """Second derivatives of where points go, 1/mm, (B, P, D, D, D)."""
        dim = self.grid.dim
        pairs = {
            (a, b): self.derivative(points, _orders(dim, a, b))
            for a, b in combinations_with_replacement(range(dim), 2)
        }
        rows = [
            torch.stack([pairs[min(a, b), max(a, b)] for b in range(dim)], -1) for a in range(dim)
        ]
        to_index = tensor(self.grid.inverse[:-1, :-1], points)
        return torch.einsum("bpief,ej,fk->bpijk", torch.stack(rows, -2), to_index, to_index)

    def derivative(self, points: Points, orders: tuple[int, ...]) -> Points:
        """A derivative of the displacement at points, of the given order along each lattice axis.

        Args:
            points: (B or 1, P, D), mm.
            orders: 0 to 2 for every axis, per lattice step.

        Returns:
            (B, P, D); zero outside the domain.
        """
        batch = max(len(points), len(self.values))
        points = points.expand(batch, *points.shape[1:])
        total = torch.zeros_like(points)
        flat = self.values.to(points.dtype).flatten(2).expand(batch, -1, -1)
        for address, weight in _supported(self.grid, points, orders):
            chosen = flat.gather(2, address[:, None].expand(-1, self.grid.dim, -1))
            total = total + weight[..., None] * chosen.transpose(1, 2)
        return total


def bending_form(grid: Grid, *, diagonal: bool = False) -> Form:
    r"""What makes $\sum_d c_d^\top B c_d$ the mean squared second derivative: c to B c.

    Args:
        grid: Where the control points lie.
        diagonal: Keep the diagonal of B alone.

    Returns:
        From (B, C, *M) to the same shape, 1/mm² for each mm².
    """
    to_index = grid.inverse[:-1, :-1]
    metric = to_index @ to_index.T  # diagonal where the axes are perpendicular
    metric = np.where(abs(metric) > 1e-9 * abs(metric).max(), metric, 0)
    cells = float(np.prod(np.array(grid.shape) - 3))
    summands: dict[tuple[tuple[int, int], ...], float] = {}
    # ∂a∂b u · ∂c∂d u along lattice axes, brought to the world by the metric on both sides
    for a, b, c, d in product(range(grid.dim), repeat=4):
        factor = metric[a, c] * metric[b, d] / cells
        if factor != 0:
            orders = tuple(((x == a) + (x == b), (x == c) + (x == d)) for x in range(grid.dim))
            summands[orders] = summands.get(orders, 0.0) + factor
    tables = []
    for orders, factor in summands.items():
        each = [gram(n, *pair).T for n, pair in zip(grid.shape, orders, strict=True)]
        each[0] = factor * each[0]
        tables.append([np.diag(np.diag(table)) for table in each] if diagonal else each)

    def form(values: Tensor) -> Tensor:
        total = torch.zeros_like(values)
        for each in tables:
            total = total + separable(values, each)
        return total

    return form


def spread_over(grid: Grid, points: Tensor) -> Tensor:
    """Weight of every control point in the displacement of points (P, D), sparse, (P, K)."""
    reached = list(_supported(grid, points[None], (0,) * grid.dim))
    address = torch.stack([a[0] for a, _ in reached], 1)
    weight = torch.stack([w[0] for _, w in reached], 1)
    row = torch.arange(len(points), device=points.device)[:, None].expand_as(address)
    place = torch.stack([row.reshape(-1), address.reshape(-1)])
    # in the order of rows and columns already, as addresses rise with the offset
    return torch.sparse_coo_tensor(
        place,
        weight.reshape(-1),
        (len(points), grid.voxels),
        is_coalesced=True,
        check_invariants=False,
    )


def lattice(grid: Grid, spacing: float) -> Grid:
    """Control points every `spacing` mm whose domain covers the voxels of `grid`."""
    # whole cells that cover the outer faces of the voxels
    cells = np.maximum(1, np.ceil(grid.extent / spacing)).astype(int)
    cells = np.where(np.array(grid.shape) == 1, 1, cells)
    middle = grid.affine.copy()
    middle[:-1, :-1] = grid.direction * spacing
    # one control point before the domain and two behind it: its middle is at 1 + cells / 2
    middle[:-1, -1] = grid.centre - middle[:-1, :-1] @ (cells / 2 + 1)
    return Grid(tuple(int(n) + 3 for n in cells), middle)


def _supported(
    grid: Grid, points: Points, orders: tuple[int, ...]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of every control point about each of the points: its address, (B, P), and its weight."""
    index = tensor(grid.inverse, points)
    position = points @ index[:-1, :-1].T + index[:-1, -1]
    shape = torch.tensor(grid.shape, dtype=points.dtype, device=points.device)
    inside = ((position >= 1) & (position <= shape - 2)).all(-1)
    # the far end of the domain belongs to the last cell
    low = position.detach().floor().clamp_min(1)
    low = torch.minimum(low, shape - 3)
    weights = [
        _basis(fraction, order)
        for fraction, order in zip((position - low).unbind(-1), orders, strict=True)
    ]  # (B, P, 4) for each axis
    # of four control points about a cell, the first stands one before it
    low = low.long() - 1
    for offset in product(range(4), repeat=grid.dim):
        address = torch.zeros_like(low[..., 0])
        weight = inside.to(points.dtype)
        for axis, (o, n) in enumerate(zip(offset, grid.shape, strict=True)):
            address = address * n + low[..., axis] + o
            weight = weight * weights[axis][..., o]
        yield address, weight


def _basis(t: Tensor, order: int) -> Tensor:
    """Weights of the four control points about a cell, or their derivatives by t, (..., 4)."""
    if order == 0:
        return basis(t)
    s = 1 - t
    if order == 1:
        weights = [-s * s / 2, 1.5 * t * t - 2 * t, 2 * s - 1.5 * s * s, t * t / 2]
    else:
        # B'' of a cubic B-spline
        weights = [s, 3 * t - 2, 3 * s - 2, t]
    return torch.stack(weights, -1)


def _orders(dim: int, *axes: int) -> tuple[int, ...]:
    """How often each lattice axis is among the given ones."""
    return tuple(axes.count(axis) for axis in range(dim))

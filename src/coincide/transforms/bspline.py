"""B-spline: free-form deformation by a coarse lattice of control points."""

from itertools import combinations_with_replacement, product

import numpy as np
import torch
from torch import Tensor

from coincide.registry import named, positive
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, PerPair, Points
from coincide.transforms.bspline_basis import basis, gram, refinement, separable, spread
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.displacement import Displacement, inverted
from coincide.transforms.parameter import frozen_like, laid_out, set_parameter
from coincide.transforms.transform import Transform

VOXELS = 4  # control points are never closer than this many voxels of a level


@named("bspline")
class BSpline(Transform):
    r"""Cubic B-spline free-form deformation: $u(x) = \sum_n c_n \prod_d B_3(t_d(x) - n_d)$.

    Control points start as far apart as the coarsest level allows and are refined exactly, by
    halving, until they are `spacing` mm apart. Zero outside the lattice's domain.

    Args:
        spacing: Distance of the final control points, mm (> 0).
        coefficients: (B, D, *M) control points, mm, world axes; None: zero.
        grid: Where the control points lie, (M...) shape; the domain runs from the second control
            point to the last but two of each axis.

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284.
    """

    coefficients: Tensor

    def __init__(
        self,
        spacing: float = 8.0,
        *,
        coefficients: Tensor | None = None,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.grid = spacing, grid
        positive(self, "spacing")
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            set_parameter(self, "coefficients", zero if coefficients is None else coefficients)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, evaluated exactly."""
        value = _combined(self, points, (0,) * self._placed().dim)
        return points + value

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S); separable where axes agree."""
        own = self._placed()
        if inner is not None:
            moved = grid.points(torch.float32).to(inner.device) + inner.flatten(2).transpose(1, 2)
            shift = (self(moved) - moved).transpose(1, 2)
            return inner + shift.reshape(-1, *inner.shape[1:])
        index = grid.index_in(own)
        linear = index[:-1, :-1]
        # a separable product needs voxel axes along those of the lattice; else point by point
        if not np.allclose(linear, np.diag(np.diag(linear)), atol=1e-6):
            points = grid.points(torch.float32).to(self.coefficients.device)
            shift = (self(points) - points).transpose(1, 2)
            return shift.reshape(-1, grid.dim, *grid.shape)
        matrices = [
            spread(index[d, d] * np.arange(n) + index[d, -1], own.shape[d])
            for d, n in enumerate(grid.shape)
        ]
        field = self.coefficients
        return separable(field, matrices)

    def inverse(self) -> Displacement:
        """Numerical inverse on a grid of half the control-point distance."""
        own = self._placed()
        # the domain alone, from the second control point on, in half steps
        shape = tuple(2 * (n - 3) + 1 for n in own.shape)
        affine = own.affine.copy()
        affine[:-1, :-1] /= 2
        affine[:-1, -1] = own.to_world(np.ones(own.dim))
        grid = Grid(shape, affine)
        field = inverted(self.displacement(grid), grid)
        return frozen_like(Displacement(field=field, grid=grid), self)

    def on(self, grid: Grid) -> "BSpline":
        """A lattice over `grid`, or the same lattice refined as finely as `grid` deserves."""
        wanted = self.spacing
        while wanted < VOXELS * grid.spacing.min() and grid.voxels > 1:
            wanted *= 2
        if self.grid is None:
            return BSpline(self.spacing, grid=lattice(grid, wanted))
        refined = BSpline(
            self.spacing, coefficients=laid_out(self.coefficients), grid=self._placed()
        )
        refined = frozen_like(refined, self)
        # halving ends between 0.75 and 1.5 times what is wanted
        while refined._placed().spacing.min() > 1.5 * wanted:
            refined = refined.refined()
        return refined

    def refined(self) -> "BSpline":
        """Exactly the same map with control points half as far apart."""
        own = self._placed()
        matrices = [refinement(n) for n in own.shape]
        field = laid_out(self.coefficients)
        affine = own.affine.copy()
        affine[:-1, :-1] /= 2
        # the first fine control point lies half a coarse step inside the first coarse one
        affine[:-1, -1] = own.to_world(np.full(own.dim, 0.5))
        grid = Grid(tuple(len(m) for m in matrices), affine)
        made = BSpline(self.spacing, coefficients=separable(field, matrices), grid=grid)
        return frozen_like(made, self)

    def bending(self) -> PerPair:
        """Mean over the domain of the squared second derivatives, 1/mm², in closed form, (B,)."""
        own = self._placed()
        to_index = own.inverse[:-1, :-1]
        metric = to_index @ to_index.T  # diagonal where the axes are perpendicular
        metric = np.where(abs(metric) > 1e-9 * abs(metric).max(), metric, 0)
        total = self.coefficients.new_zeros(len(self.coefficients))
        # ∂a∂b u · ∂c∂d u along lattice axes, brought to the world by the metric on both sides
        for a, b, c, d in product(range(own.dim), repeat=4):
            factor = metric[a, c] * metric[b, d]
            if factor == 0:
                continue
            tables = [
                gram(n, (axis == a) + (axis == b), (axis == c) + (axis == d)).T
                for axis, n in enumerate(own.shape)
            ]
            field = separable(self.coefficients, tables)
            total = total + factor * (field * self.coefficients).flatten(1).sum(1)
        cells = float(np.prod(np.array(own.shape) - 3))
        return total / cells

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("this lattice has no grid yet; call .on(grid) first")
        return self.grid


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


def _combined(transform: BSpline, points: Points, orders: tuple[int, ...]) -> Points:
    """A derivative of the displacement at points, of the given order along each lattice axis.

    Args:
        transform: Whose control points are combined.
        points: (B or 1, P, D), mm.
        orders: 0 to 2 for every axis, per lattice step.

    Returns:
        (B, P, D); zero outside the domain.
    """
    grid = transform._placed()
    batch = max(len(points), len(transform.coefficients))
    points = points.expand(batch, *points.shape[1:])
    index = tensor(grid.inverse, points)
    position = points @ index[:-1, :-1].T + index[:-1, -1]
    shape = torch.tensor(grid.shape, dtype=points.dtype, device=points.device)
    inside = ((position >= 1) & (position <= shape - 2)).all(-1, keepdim=True)
    # the far end of the domain belongs to the last cell
    low = position.detach().floor().clamp_min(1)
    low = torch.minimum(low, shape - 3)
    weights = [
        _basis(fraction, order)
        for fraction, order in zip((position - low).unbind(-1), orders, strict=True)
    ]  # (B, P, 4) for each axis
    # of four control points about a cell, the first stands one before it
    low = low.long() - 1
    total = torch.zeros_like(points)
    flat = transform.coefficients.to(points.dtype).flatten(2).expand(batch, -1, -1)
    for offset in product(range(4), repeat=grid.dim):
        address = torch.zeros_like(low[..., 0])
        weight = torch.ones_like(points[..., 0])
        for axis, (o, n) in enumerate(zip(offset, grid.shape, strict=True)):
            address = address * n + low[..., axis] + o
            weight = weight * weights[axis][..., o]
        chosen = flat.gather(2, address[:, None].expand(-1, grid.dim, -1)).transpose(1, 2)
        total = total + weight[..., None] * chosen
    return inside * total


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


@jacobian_at.register
def _(transform: BSpline, points: Points) -> Tensor:
    own = transform._placed()
    columns = [_combined(transform, points, _orders(own.dim, a)) for a in range(own.dim)]
    to_index = tensor(own.inverse[:-1, :-1], points)
    identity = torch.eye(own.dim, dtype=points.dtype, device=points.device)
    return torch.stack(columns, -1) @ to_index + identity


@hessian_at.register
def _(transform: BSpline, points: Points) -> Tensor:
    own = transform._placed()
    pairs = {
        (a, b): _combined(transform, points, _orders(own.dim, a, b))
        for a, b in combinations_with_replacement(range(own.dim), 2)
    }
    rows = [
        torch.stack([pairs[min(a, b), max(a, b)] for b in range(own.dim)], -1)
        for a in range(own.dim)
    ]
    to_index = tensor(own.inverse[:-1, :-1], points)
    return torch.einsum("bpief,ej,fk->bpijk", torch.stack(rows, -2), to_index, to_index)

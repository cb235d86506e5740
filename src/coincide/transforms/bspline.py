"""B-spline: free-form deformation by a coarse lattice of control points."""

from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from coincide.registry import named
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, PerPair, Points
from coincide.transforms.bspline_basis import basis, gram, refinement, separable, spread
from coincide.transforms.displacement import Displacement
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

    def __init__(
        self,
        spacing: float = 8.0,
        *,
        coefficients: Tensor | None = None,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.grid = spacing, grid
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            self.coefficients = nn.Parameter(
                zero if coefficients is None else coefficients.detach()
            )

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, evaluated exactly."""
        grid = self._placed()
        index = tensor(grid.inverse, points)
        position = points @ index[:-1, :-1].T + index[:-1, -1]
        shape = torch.tensor(grid.shape, dtype=points.dtype, device=points.device)
        inside = ((position >= 1) & (position <= shape - 2)).all(-1, keepdim=True)
        low = position.detach().floor().clamp_min(1)
        low = torch.minimum(low, shape - 3)
        weights = basis(position - low)  # (B, P, D, 4)
        low = low.long() - 1
        shift = torch.zeros_like(points)
        flat = self.coefficients.to(points.dtype).flatten(2).expand(len(points), -1, -1)
        for offset in product(range(4), repeat=grid.dim):
            address = torch.zeros_like(low[..., 0])
            weight = torch.ones_like(points[..., 0])
            for axis, (o, n) in enumerate(zip(offset, grid.shape, strict=True)):
                address = address * n + low[..., axis] + o
                weight = weight * weights[..., axis, o]
            chosen = flat.gather(2, address[:, None].expand(-1, grid.dim, -1)).transpose(1, 2)
            shift = shift + weight[..., None] * chosen
        return points + inside * shift

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S); separable where axes agree."""
        own = self._placed()
        if inner is not None:
            moved = grid.points(torch.float32).to(inner.device) + inner.flatten(2).transpose(1, 2)
            shift = (self(moved) - moved).transpose(1, 2).reshape(inner.shape)
            return inner + shift
        index = grid.index_in(own)
        linear = index[:-1, :-1]
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
        shape = tuple(2 * (n - 3) + 1 for n in own.shape)
        affine = own.affine.copy()
        affine[:-1, :-1] /= 2
        affine[:-1, -1] = own.to_world(np.ones(own.dim))
        grid = Grid(shape, affine)
        return Displacement(field=self.displacement(grid).detach(), grid=grid).inverse()

    def on(self, grid: Grid) -> "BSpline":
        """A lattice over `grid`, or the same lattice refined as finely as `grid` deserves."""
        wanted = self.spacing
        while wanted < VOXELS * grid.spacing.min() and grid.voxels > 1:
            wanted *= 2
        if self.grid is None:
            return BSpline(self.spacing, grid=lattice(grid, wanted))
        refined = self
        while refined._placed().spacing.min() > 1.5 * wanted:
            refined = refined.refined()
        return refined

    def refined(self) -> "BSpline":
        """Exactly the same map with control points half as far apart."""
        own = self._placed()
        matrices = [refinement(n) for n in own.shape]
        field = self.coefficients.detach()
        affine = own.affine.copy()
        affine[:-1, :-1] /= 2
        affine[:-1, -1] = own.to_world(np.full(own.dim, 0.5))
        grid = Grid(tuple(len(m) for m in matrices), affine)
        return BSpline(self.spacing, coefficients=separable(field, matrices), grid=grid)

    def bending(self) -> PerPair:
        """Mean over the domain of the squared second derivatives, 1/mm², in closed form, (B,)."""
        own = self._placed()
        to_index = own.inverse[:-1, :-1]
        metric = to_index @ to_index.T  # diagonal where the axes are perpendicular
        metric = np.where(abs(metric) > 1e-9 * abs(metric).max(), metric, 0)
        total = self.coefficients.new_zeros(len(self.coefficients))
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
    cells = np.maximum(1, np.ceil(grid.extent / spacing)).astype(int)
    cells = np.where(np.array(grid.shape) == 1, 1, cells)
    middle = grid.affine.copy()
    middle[:-1, :-1] = grid.direction * spacing
    middle[:-1, -1] = grid.centre - middle[:-1, :-1] @ (cells / 2 + 1)
    return Grid(tuple(int(n) + 3 for n in cells), middle)

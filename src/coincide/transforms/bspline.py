"""B-spline: free-form deformation by a coarse lattice of control points."""

import numpy as np
import torch
from torch import Tensor

from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, PerPair, Points
from coincide.transforms.bspline_basis import refinement, separable
from coincide.transforms.control_points import ControlPoints, bending_form, lattice, spread_over
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.design import Design, design
from coincide.transforms.displacement import Displacement
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

    def control_points(self) -> ControlPoints:
        """What follows from the control points, as functions of them."""
        grid = self._placed()
        return ControlPoints(self.coefficients, grid)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, evaluated exactly."""
        return self.control_points().moved(points)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S); separable where axes agree."""
        return self.control_points().displacement(grid, inner)

    def inverse(self) -> Displacement:
        """Numerical inverse on a grid of half the control-point distance."""
        field, grid = self.control_points().inverse()
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
        return self.control_points().bending()

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("this lattice has no grid yet; call .on(grid) first")
        return self.grid


class SplineDesign(Design):
    """A B-spline is linear in its control points, each of which reaches a few cells.

    Args:
        transform: Of one pair.
    """

    def __init__(self, transform: BSpline):
        self.transform, self.grid = transform, transform._placed()
        self.form = bending_form(self.grid)

    @property
    def weights(self) -> Tensor:
        """Control points, (K, D)."""
        return self.transform.coefficients.detach()[0].flatten(1).T

    def put(self, weights: Tensor) -> None:
        """Move the control points."""
        held = self.transform.coefficients
        held.data.copy_(weights.T.reshape(held.shape))

    def matrix(self, points: Tensor) -> Tensor:
        """Weight of every control point at points (P, D), sparse."""
        return spread_over(self.grid, points)

    def bent(self, weights: Tensor, points: Tensor) -> Tensor:  # noqa: ARG002
        """In closed form."""
        field = weights.T.reshape(1, -1, *self.grid.shape)
        return self.form(field)[0].flatten(1).T

    def stiffness(self, points: Tensor) -> Tensor:
        """In closed form."""
        like = torch.ones((1, 1, *self.grid.shape), dtype=points.dtype, device=points.device)
        return bending_form(self.grid, diagonal=True)(like).flatten()


@design.register
def _(transform: BSpline) -> Design:
    return SplineDesign(transform)


@jacobian_at.register
def _(transform: BSpline, points: Points) -> Tensor:
    return transform.control_points().jacobian(points)


@hessian_at.register
def _(transform: BSpline, points: Points) -> Tensor:
    return transform.control_points().hessian(points)

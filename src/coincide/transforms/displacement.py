"""Displacement: one vector a voxel."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.invert import invert as solved_by_iteration
from coincide.kernels.warp import warp
from coincide.registry import named
from coincide.space.grid import Grid, transform_vectors
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import jacobian_at
from coincide.transforms.parameter import frozen_like
from coincide.transforms.sampled import Sampled, composed, displaced, displaced_jacobian


@named("displacement")
class Displacement(Sampled):
    r"""Dense displacement field: $T(x) = x + u(x)$, u linear between voxels, zero outside its grid.

    Args:
        spacing: Voxel size wanted for the field, mm; 0: that of the grid it is put on.
        field: (B, D, *S) displacement, mm, world axes; None: zero.
        grid: Where the voxels of `field` lie.
    """

    optimiser = "compositive(update=2.0, field=1.5)"

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else displaced(points, self.field, self.grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        own = self._placed()
        return composed(self.field, own, grid, inner)

    def inverse(self) -> "Displacement":
        """Numerical inverse on the same grid; see `inverted`."""
        field = inverted(self.field, self._placed())
        return frozen_like(Displacement(self.spacing, field=field, grid=self.grid), self)


@jacobian_at.register
def _(transform: Displacement, points: Points) -> Tensor:
    if transform.grid is None:
        dim = points.shape[2]
        return torch.eye(dim, dtype=points.dtype, device=points.device).expand(*points.shape, dim)
    return displaced_jacobian(points, transform.field, transform.grid)


def invert(
    field: Field, grid: Grid, *, steps: int = 40, tolerance: float = 0.003
) -> tuple[Field, Field]:
    r"""Displacement that undoes another: fixed-point iteration $w \leftarrow -u(y + w)$, damped.

    Args:
        field: u, (B, D, *S), mm.
        grid: Where u lies; its border is continued outside.
        steps: At most this many iterations a voxel.
        tolerance: A voxel is done when its residual is below this many voxels.

    Returns:
        The inverse displacement w on the same grid, mm, and its residual |w + u(y + w)| in voxels,
        (B, 1, *S).
    """
    voxels = transform_vectors(grid.inverse[:-1, :-1], field.detach())
    inverse, residual = solved_by_iteration(voxels, steps, tolerance)
    return transform_vectors(grid.affine[:-1, :-1], inverse), residual


def inverted(field: Field, grid: Grid, *, steps: int = 40, tolerance: float = 0.003) -> Field:
    r"""Displacement that undoes another, differentiable; see `invert` for the arguments.

    From $w(y) = -u(y + w(y))$ follows $\mathrm{d}w = -(I + \nabla u)^{-1}\,\mathrm{d}u$, both at
    $y + w$, however the equation was solved. Float64 is solved as exactly as it allows.

    Returns:
        (B, D, *S) on the same grid, mm.
    """
    if field.dtype == torch.float64:
        steps, tolerance = max(steps, 100), 1e-10
    return _Inverse.apply(field, grid, steps, tolerance)  # type: ignore[return-value]


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, field: Field, grid: Grid, steps: int, tolerance: float) -> Field:
        ctx.grid = grid
        inverse, _ = invert(field, grid, steps=steps, tolerance=tolerance)
        ctx.save_for_backward(field, inverse)
        return inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        # leaves of a small graph, from which slopes of u and its adjoint are both taken
        field, inverse = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        dim = field.shape[1]
        with torch.enable_grad():
            index, scale = np.eye(dim, dim + 1), ctx.grid.inverse[:-1, :-1]
            there, _ = warp(field, inverse, index, scale, clamp=True)
        rows = []
        # row d of ∇u at y + w, for all voxels at once
        for d in range(dim):
            one = torch.zeros_like(there)
            one[:, d] = 1
            rows.append(torch.autograd.grad(there, inverse, one, retain_graph=True)[0])
        jacobian = torch.stack(rows, 1).movedim((1, 2), (-2, -1))
        jacobian = jacobian + torch.eye(dim, dtype=field.dtype, device=field.device)
        # the gradient is a row, so the transposed system is solved, once for all voxels
        wanted = gradients[0].movedim(1, -1)[..., None]
        solved = -torch.linalg.solve(jacobian.transpose(-1, -2), wanted)[..., 0].movedim(-1, 1)
        return torch.autograd.grad(there, field, solved)[0], None, None, None

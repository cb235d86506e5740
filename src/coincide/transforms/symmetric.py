"""Symmetric: two halves that meet in a common middle."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from coincide.kernels.warp import warp
from coincide.registry import named
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.displacement import invert
from coincide.transforms.sampled import carried, shifted, upsampled
from coincide.transforms.transform import Transform


@named("symmetric")
class Symmetric(Transform):
    r"""Two displacement halves that start from a common middle: $T = \phi_M \circ \phi_F^{-1}$.

    Neither image is preferred: each half leads from the middle to one of them, and exchanging the
    halves gives the inverse, exactly. The inverse of a half is found by fixed-point iteration,
    once, when the transform no longer needs a gradient.

    Args:
        spacing: Voxel size wanted for the halves, mm; 0: that of the grid they are put on.
        fixed_half: (B, D, *S) displacement from the middle to the fixed world, mm; None: zero.
        moving_half: (B, D, *S) displacement from the middle to the moving world, mm; None: zero.
        grid: Where the voxels of both lie, in the middle.

    References:
        Avants et al. (2008), doi:10.1016/j.media.2007.06.004.
    """

    optimiser = "syn"
    _middle: Tensor | None

    def __init__(
        self,
        spacing: float = 0.0,
        *,
        fixed_half: Tensor | None = None,
        moving_half: Tensor | None = None,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.grid = spacing, grid
        self.register_buffer("_middle", None, persistent=False)
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            self.fixed_half, self.moving_half = (
                nn.Parameter(zero.clone() if half is None else half.detach())
                for half in (fixed_half, moving_half)
            )

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        if self.grid is None:
            return points
        return shifted(shifted(points, self.middle(), self.grid), self.moving_half, self.grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        own = self._placed()
        return carried(self.moving_half, own, grid, carried(self.middle(), own, grid, inner))

    def middle(self) -> Field:
        """Displacement from the fixed world to the middle, mm, (B, D, *S) on the grid."""
        own = self._placed()
        if self.fixed_half.requires_grad:
            return _Inverse.apply(self.fixed_half, own)  # type: ignore[return-value]
        if self._middle is None:
            self._middle = _inverse(self.fixed_half, own)
        return self._middle

    def inverse(self) -> "Symmetric":
        """The halves exchanged."""
        return Symmetric(
            self.spacing,
            fixed_half=getattr(self, "moving_half", None),
            moving_half=getattr(self, "fixed_half", None),
            grid=self.grid,
        )

    def on(self, grid: Grid) -> "Symmetric":
        """The same halves resampled to `grid` at their own spacing."""
        own = grid.shrink(grid.factors(self.spacing)) if self.spacing else grid
        if self.grid is None:
            return Symmetric(self.spacing, grid=own)
        first, second = (
            upsampled(half.detach(), self.grid, own) for half in (self.fixed_half, self.moving_half)
        )
        return Symmetric(self.spacing, fixed_half=first, moving_half=second, grid=own)

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("these halves have no grid yet; call .on(grid) first")
        return self.grid


def _inverse(field: Field, grid: Grid) -> Field:
    # nearly as far as the number type goes, so that the map does not depend on where it stopped
    tolerance = 1e-10 if field.dtype == torch.float64 else 3e-5
    return invert(field, grid, steps=100, tolerance=tolerance)[0]


class _Inverse(Function):
    """w with w(y) = -u(y + w(y)); its derivative follows from that equation."""

    @staticmethod
    def forward(ctx: Any, field: Field, grid: Grid) -> Field:
        ctx.grid = grid
        inverse = _inverse(field, grid)
        ctx.save_for_backward(field, inverse)
        return inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        field, inverse = (t.detach().requires_grad_() for t in ctx.saved_tensors)
        dim = field.shape[1]
        with torch.enable_grad():
            index, scale = np.eye(dim, dim + 1), ctx.grid.inverse[:-1, :-1]
            there, _ = warp(field, inverse, index, scale, clamp=True)
        rows = []
        for d in range(dim):
            one = torch.zeros_like(there)
            one[:, d] = 1
            rows.append(torch.autograd.grad(there, inverse, one, retain_graph=True)[0])
        # dw = -(I + ∇u)⁻¹ du, both at y + w
        jacobian = torch.stack(rows, 1).movedim((1, 2), (-2, -1))
        jacobian = jacobian + torch.eye(dim, dtype=field.dtype, device=field.device)
        wanted = gradients[0].movedim(1, -1)[..., None]
        solved = -torch.linalg.solve(jacobian.transpose(-1, -2), wanted)[..., 0].movedim(-1, 1)
        return torch.autograd.grad(there, field, solved)[0], None

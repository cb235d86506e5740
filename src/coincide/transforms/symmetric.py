"""Symmetric: two halves that meet in a common middle."""

import torch
from torch import Tensor, nn

from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at, without_hessian
from coincide.transforms.displacement import inverted
from coincide.transforms.parameter import frozen_like, laid_out, set_parameter
from coincide.transforms.sampled import composed, displaced, displaced_jacobian, upsampled
from coincide.transforms.transform import Transform

TOLERANCE = 3e-5  # voxels; as far as float32 goes, so that the map forgets where it stopped


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
    fixed_half: Tensor
    moving_half: Tensor
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
        positive(self, "spacing", zero=True)
        # made anew from the halves whenever it is missing, so no file needs it
        self.register_buffer("_middle", None, persistent=False)
        if grid is not None:
            zero = torch.zeros(1, grid.dim, *grid.shape)
            for name, half in (("fixed_half", fixed_half), ("moving_half", moving_half)):
                set_parameter(self, name, zero.clone() if half is None else half)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        if self.grid is None:
            return points
        return displaced(displaced(points, self.middle(), self.grid), self.moving_half, self.grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        own = self._placed()
        return composed(self.moving_half, own, grid, composed(self.middle(), own, grid, inner))

    def middle(self) -> Field:
        """Displacement from the fixed world to the middle, mm, (B, D, *S) on the grid."""
        own = self._placed()
        if self.fixed_half.requires_grad:
            self._middle = None  # what was kept while frozen is of another half
            return inverted(self.fixed_half, own, steps=100, tolerance=TOLERANCE)
        if self._middle is None:
            self._middle = inverted(self.fixed_half, own, steps=100, tolerance=TOLERANCE)
        return self._middle

    def inverse(self) -> "Symmetric":
        """The halves exchanged."""
        if self.grid is None:
            return Symmetric(self.spacing)
        # as views, which have a graph where the halves can still be moved
        first, second = (half.view_as(half) for half in (self.moving_half, self.fixed_half))
        made = Symmetric(self.spacing, fixed_half=first, moving_half=second, grid=self.grid)
        for name, half in (("fixed_half", self.moving_half), ("moving_half", self.fixed_half)):
            kept = getattr(made, name)
            if isinstance(kept, nn.Parameter):
                kept.requires_grad_(half.requires_grad)
        return made

    def on(self, grid: Grid) -> "Symmetric":
        """The same halves resampled to `grid` at their own spacing."""
        own = grid.shrink(grid.factors(self.spacing)) if self.spacing else grid
        if self.grid is None:
            return Symmetric(self.spacing, grid=own)
        first, second = (
            upsampled(laid_out(half), self.grid, own)
            for half in (self.fixed_half, self.moving_half)
        )
        made = Symmetric(self.spacing, fixed_half=first, moving_half=second, grid=own)
        return frozen_like(made, self)

    def _placed(self) -> Grid:
        if self.grid is None:
            raise ValueError("these halves have no grid yet; call .on(grid) first")
        return self.grid


@jacobian_at.register
def _(transform: Symmetric, points: Points) -> Tensor:
    own = transform._placed()
    middle = transform.middle()
    inner = displaced_jacobian(points, middle, own)
    there = displaced(points, middle, own)
    return displaced_jacobian(there, transform.moving_half, own) @ inner


@hessian_at.register
def _(transform: Symmetric, points: Points) -> Tensor:  # noqa: ARG001
    raise without_hessian(transform)

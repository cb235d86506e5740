"""B-spline velocity: the exponential of a free-form velocity."""

from torch import Tensor

from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.bspline import BSpline
from coincide.transforms.derivatives import hessian_at, jacobian_at, without_hessian
from coincide.transforms.parameter import frozen_like
from coincide.transforms.sampled import composed, displaced, displaced_jacobian
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import integrated


@named("bspline_velocity")
class BSplineVelocity(Transform):
    """Free-form deformation of a stationary velocity: exp of a B-spline, always invertible.

    Args:
        spacing: Distance of the final control points, mm (> 0).
        coefficients: (B, D, *M) control points of the velocity, mm; None: zero.
        grid: Where the control points lie; see `BSpline`.
        field_grid: Where the velocity is integrated; None: set by `on`.
    """

    def __init__(
        self,
        spacing: float = 8.0,
        *,
        coefficients: Tensor | None = None,
        grid: Grid | None = None,
        field_grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.field_grid = spacing, field_grid
        positive(self, "spacing")
        self.spline = BSpline(spacing, coefficients=coefficients, grid=grid)

    @property
    def grid(self) -> Grid | None:
        """Where the control points lie."""
        return self.spline.grid

    def integrated(self) -> Field:
        """Displacement exp(v) - id on the grid of integration, mm, (B, D, *S)."""
        own = self._integration()
        return integrated(self.spline.displacement(own), own)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return displaced(points, self.integrated(), self._integration())

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return composed(self.integrated(), self._integration(), grid, inner)

    def inverse(self) -> "BSplineVelocity":
        """The flow backwards in time."""
        own = self._integration()
        made = BSplineVelocity(
            self.spacing,
            # exp(-v): control points enter the velocity linearly, so that their sign is its own
            coefficients=-self.spline.coefficients,
            grid=self.spline.grid,
            field_grid=own,
        )
        return frozen_like(made, self)

    def on(self, grid: Grid) -> "BSplineVelocity":
        """A lattice over `grid`, refined as finely as `grid` deserves, integrated on it."""
        spline = self.spline.on(grid)
        made = BSplineVelocity(
            self.spacing, coefficients=spline.coefficients, grid=spline.grid, field_grid=grid
        )
        return frozen_like(made, self)

    def _integration(self) -> Grid:
        if self.field_grid is None:
            raise ValueError("this lattice has no grid yet; call .on(grid) first")
        return self.field_grid


@jacobian_at.register
def _(transform: BSplineVelocity, points: Points) -> Tensor:
    own = transform._integration()
    return displaced_jacobian(points, transform.integrated(), own)


@hessian_at.register
def _(transform: BSplineVelocity, points: Points) -> Tensor:  # noqa: ARG001
    raise without_hessian(transform)

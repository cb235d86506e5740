"""Cycle: two networks, one each way, that must agree; where they do not, the map is uncertain."""

import torch
from torch import Tensor

from coincide.registry import named
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.implicit import Implicit
from coincide.transforms.newton import Newton, expanded
from coincide.transforms.read_out import read_out, read_out_of
from coincide.transforms.siren import Siren
from coincide.transforms.transform import Transform

INFERENCES = ("newton", "taylor1", "taylor2")


@named("cycle")
class Cycle(Implicit):
    r"""Consensus of two implicit maps: $T = \tfrac12 \big(F + B^{-1}\big)$, with a doubt in mm.

    F leads from the fixed to the moving world and B back, each a `Siren` with weights of its own,
    fitted together so that $B(F(x)) \approx x$. Two networks seldom go wrong in the same way, so
    that a fit fails less often than that of one, and where they disagree, neither is to be
    trusted: `uncertainty` is the distance $\lVert F(x) - B^{-1}(x) \rVert$. $B^{-1}$ is found from
    F(x) by Newton's iteration, or without any by Taylor's expansion, as published, which is right
    to $\delta^2$ or $\delta^3$ where the two differ by $\delta$.

    Args:
        width: Of the hidden layers of each.
        depth: Number of hidden layers.
        omega: How fine the displacement may be (> 0).
        activation: See `Siren`.
        seed: Of the first weights of F; those of B are of the next seed.
        inference: How the inverse of B is found: `newton`, `taylor1` or `taylor2`.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        van Harten, Stoker, Isgum (2024), arXiv:2310.01934.
    """

    optimiser = "cycle_sampled"

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        omega: float = 20.0,
        activation: str = "sine",
        seed: int = 0,
        inference: str = "newton",
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.width, self.depth, self.omega, self.activation = width, depth, omega, activation
        self.seed, self.inference, self.grid = seed, inference, grid
        if inference not in INFERENCES:
            raise ValueError(
                f"cycle knows no inference {inference!r}; known: {', '.join(INFERENCES)}"
            )
        ahead, back = (Siren(width, depth, omega, activation, s) for s in (seed, seed + 1))
        if grid is not None:
            ahead, back = ahead.on(grid), back.on(grid)
        self.ahead, self.back = ahead, back

    def both(self, points: Points) -> tuple[Points, Points]:
        """Where F, and where the inverse of B, send points, (B, P, D) mm each."""
        there = self.ahead(points)
        if self.inference == "newton":
            return there, Newton(self.back).solved(points, there)
        return there, expanded(self.back, points, there, int(self.inference[-1]))

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm: midway between what the two say."""
        if self.grid is None:
            return points
        one, other = self.both(points)
        return (one + other) / 2

    def uncertainty(self, points: Points) -> Tensor:
        """Distance between what the two say, mm, (B, P); its mean over a mask scores the fit."""
        self.placed()
        with torch.no_grad():
            one, other = self.both(points)
            return (one - other).norm(dim=-1)

    def uncertainty_map(self, grid: Grid) -> Image:
        """The same at the voxels of a grid, (1, 1, *S), mm."""
        self.placed()
        device = next(self.parameters()).device

        def apart(points: Points) -> Points:
            one, other = self.both(points.to(device))
            return one - other

        # a vector, which is smooth; its length is not where it is zero
        return Image(read_out(apart, grid).norm(dim=1, keepdim=True), grid)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        self.placed()
        return read_out_of(self, lambda points: self(points.double()) - points, grid, inner)


@jacobian_at.register
def _(transform: Cycle, points: Points) -> Tensor:
    if transform.inference != "newton":
        # an expansion is not quite the inverse, and has derivatives of its own: by autograd
        return jacobian_at.dispatch(Transform)(transform, points)
    _, other = transform.both(points)
    # of B⁻¹ at x: the inverse of that of B where B leads to x
    back = torch.linalg.inv(jacobian_at(transform.back, other))
    return (jacobian_at(transform.ahead, points) + back) / 2


@hessian_at.register
def _(transform: Cycle, points: Points) -> Tensor:
    if transform.inference != "newton":
        return hessian_at.dispatch(Transform)(transform, points)
    back = hessian_at(Newton(transform.back), points)
    return (hessian_at(transform.ahead, points) + back) / 2

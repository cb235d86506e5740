"""Hyperelastic energy: lengths, areas and volumes of a body that never folds."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import (
    cofactors_at,
    determinant_at,
    faces,
    slopes_at,
    squared_gradient,
)


@named("hyperelastic")
@dataclass(frozen=True)
class Hyperelastic(Penalty):
    r"""Energy of a hyperelastic body (no unit): large deformations, yet no folds.

    $$
    \frac{1}{|\Omega|} \int_\Omega \frac{\alpha_l}{2} \lVert \nabla u \rVert_F^2
        + \alpha_a \sum_d \max(0, \lVert \operatorname{cof}(J)\, n_d \rVert^2 - 1)^2
        + \alpha_v \frac{(\det J - 1)^4}{(\det J)^2} \, \mathrm{d}x
    $$

    with $n_d$ the normals of the voxel's faces, whose areas may shrink but not grow (in 2-D its
    edges). Below `floor` the volume term goes on along its tangent, so that folds open.

    Args:
        length: Weight of changed lengths (no unit, 0 or more).
        area: Weight of grown areas (no unit, 0 or more).
        volume: Weight of changed volumes (no unit, 0 or more).
        floor: Determinant below which the tangent stands in (no unit, in (0, 1)).

    Example:
        >>> float(Hyperelastic()(alignment))
        0.0

    References:
        Burger, Modersitzki, Ruthotto (2013), doi:10.1137/110835955.
    """

    order = 1
    length: float = 1.0
    area: float = 1.0
    volume: float = 1.0
    floor: float = 0.1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        field, grid = alignment.displacement, alignment.fixed.grid
        stretch, areas = squared_gradient(field, grid)[:, 0], faces(field, grid).movedim(1, -1)
        return self._energy(stretch, areas, alignment.jacobian[:, 0]).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Energy at points, (B, P), of faces across the axes of the world."""
        stretch = slopes_at(jacobian).square().sum((-2, -1))
        areas = cofactors_at(jacobian).square().sum(-2)
        return self._energy(stretch, areas, determinant_at(jacobian))

    def _energy(self, stretch: Tensor, areas: Tensor, det: Tensor) -> Tensor:
        """From squared slopes, squared areas in the last axis, and volumes."""
        # only areas that grow: shrinking is left to the volume term
        growth = (areas - 1).clamp_min(0).square().sum(-1)
        t = self.floor
        held = det.clamp_min(t)
        # derivative of the barrier at the floor, along which it goes on below
        slope = 2 * (t - 1) ** 3 * (t + 1) / t**3
        barrier = (held - 1) ** 4 / held**2 + slope * (det - t).clamp_max(0)
        return self.length / 2 * stretch + self.area * growth + self.volume * barrier

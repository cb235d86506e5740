"""Cost: how good a prediction is, by the objective that an optimiser minimises."""

import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Objective, Penalty
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.bspline_velocity import BSplineVelocity
from coincide.transforms.displacement import Displacement
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import Velocity


def cost(
    objective: Objective, alignment: Alignment, weight: float | None = None
) -> tuple[Tensor, dict[str, float]]:
    """Mean cost of a batch, penalties taken of the velocity where there is one, and every term.

    Args:
        objective: With the data of its terms.
        alignment: Of images and what was predicted.
        weight: λ from 0 to 1: penalties times λ, all else times 1 - λ; None: the plain sum.
    """
    smooth = smoothness(alignment)
    total, values = torch.zeros((), dtype=torch.float64, device=alignment.fixed.data.device), {}
    for share, term in objective.terms:
        penalty = isinstance(term, Penalty)
        value = term(smooth if penalty and not term.whole else alignment).double().mean()
        told = 1.0 if weight is None else weight if penalty else 1 - weight
        total = total + share * told * value
        values[str(term)] = float(value.detach())
    return total, values


def smoothness(alignment: Alignment) -> Alignment:
    """An alignment whose displacement is what a penalty shall see: a velocity on its own voxels."""
    transform = alignment.transform
    field, grid = _field(transform)
    if field is None or grid is None:
        return alignment
    nothing = Image(field.new_zeros(len(field), 1, *grid.shape), grid)
    return Alignment(nothing, nothing, Displacement(field=field, grid=grid))


def _field(transform: Transform) -> tuple[Tensor | None, Grid | None]:
    if isinstance(transform, Velocity | Displacement):
        return transform.field, transform.grid
    if isinstance(transform, BSplineVelocity) and transform.field_grid is not None:
        return transform.spline.displacement(transform.field_grid), transform.field_grid
    return None, None

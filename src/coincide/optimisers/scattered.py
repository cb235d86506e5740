"""Scattered: an objective at points instead of on a grid."""

import numpy as np
import torch
from torch import Tensor

from coincide.objective import Objective, OnPair, Penalty, Similarity
from coincide.optimisers.optimiser import Problem
from coincide.registry import parts
from coincide.similarities.field import Field
from coincide.similarities.landmarks import Landmarks
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import sample
from coincide.space.shapes import Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.transform import Transform


class Scattered:
    """Terms of an objective at drawn points, from one image to the other.

    Fixed values are interpolated at the points and moving ones where the transform sends them;
    both become images of one row, which pointwise similarities take like any other. Penalties
    take the transform's own derivatives, so nothing depends on a grid.

    Args:
        objective: What is minimised.
        images: For each similarity the prepared image of the points, and that of where they go.
        mask: Weight of the voxels that points are drawn from, (1, 1, *S); None: all weigh alike.
    """

    def __init__(
        self,
        objective: Objective,
        images: dict[Similarity, tuple[Image, Image]],
        mask: Tensor | None,
    ):
        self.objective, self.mask = objective, mask
        self.images = {term: (_shown(a), _shown(b)) for term, (a, b) in images.items()}

    def costs(
        self, transform: Transform, points: Points, voxels: Tensor, regularised: Points | None
    ) -> list[Tensor]:
        """Cost of every term but landmarks, before its weight; scalars.

        Args:
            transform: From the world of the points to the other.
            points: Where similarities are asked, (1, P, D), mm.
            voxels: In which voxel of the mask each lies, (P, D).
            regularised: Where penalties are asked, (1, Q, D), mm; None: at `points`.
        """
        weight = torch.ones_like(points[0, :, 0])
        if self.mask is not None:
            weight = self.mask[0, 0][tuple(voxels.T.to(self.mask.device))].to(points)
        there = transform(points) if self.images else points
        where = points if regularised is None else regularised
        orders = [term.order for _, term in self.objective.terms if isinstance(term, Penalty)]
        slope = jacobian_at(transform, where) if orders else None
        curve = hessian_at(transform, where) if 2 in orders else None
        found = []
        for _, term in self.objective.terms:
            if isinstance(term, Similarity):
                one, other = self.images[term]
                fixed, warped = (
                    _row(*_values(one, points), weight),
                    _row(*_values(other, there), weight),
                )
                found.append(term.compare(fixed, warped).mean())
            elif isinstance(term, Penalty):
                assert slope is not None
                found.append(term.density(slope, curve).mean())
        return found


def refuse(objective: Objective, name: str) -> None:
    """Refuse terms that cannot be asked at points.

    Raises:
        ValueError: naming what would do.
    """
    for _, term in objective.terms:
        if isinstance(term, Similarity) and not term.pointwise:
            known = [n for n, p in parts(Similarity).items() if p.pointwise]  # type: ignore[attr-defined]
            raise ValueError(
                f"{name} looks at single points, and {term} compares neighbourhoods; use "
                "'standardised', which is local correlation of points, or one of: "
                f"{', '.join(known)}"
            )
        if isinstance(term, Penalty) and not term.order:
            known = [n for n, p in parts(Penalty).items() if p.order]  # type: ignore[attr-defined]
            raise ValueError(
                f"{name} asks penalties at single points, and {term} is none that can be; use one "
                f"of: {', '.join(known)}"
            )
        if isinstance(term, OnPair) and not isinstance(term.term, Landmarks | Field):
            raise ValueError(
                f"{name} looks at points of the two images alone, not at {term}; use adam, which "
                "looks at all voxels"
            )


def both_prepared(problem: Problem) -> dict[Similarity, tuple[Image, Image]]:
    """Features of the fixed and of the moving image for every similarity of an objective."""
    return {term: problem.features(term) for _, term in problem.objective.similarities}


def _shown(image: Image) -> Image:
    """The image times its mask, and the mask behind it, so that nothing comes from outside."""
    if image.mask is None:
        return image
    weight = image.weight()
    data = torch.where(weight > 0, image.data, 0) * weight
    return Image(torch.cat([data, weight], 1), image.grid, image.mask)


def _values(image: Image, points: Points) -> tuple[Tensor, Tensor]:
    """Values (1, P, C) of what `_shown` made, and how much of each is known, (1, P, 1)."""
    values, inside = sample(image, points)
    if image.mask is None:
        return values, inside.detach()
    values, known = values[..., :-1], values[..., -1:]
    return values / known.clamp_min(1e-6), known.detach()


def _row(values: Tensor, known: Tensor, weight: Tensor) -> Image:
    """Values at points as an image of one row of voxels."""
    count, dim = values.shape[1], 3
    shape = (count, *(1,) * (dim - 1))
    data = values.transpose(1, 2).reshape(len(values), -1, *shape)
    mask = (known[..., 0] * weight).reshape(len(values), 1, *shape)
    return Image(data, Grid(shape, np.eye(dim + 1)), mask)

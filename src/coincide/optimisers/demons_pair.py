"""Pair: two images, and the force of the demons between them."""

import numpy as np

from coincide.kernels.demons import demons
from coincide.kernels.update import exponential, largest
from coincide.kernels.warp import warp
from coincide.objective import Objective
from coincide.optimisers.optimiser import Problem
from coincide.similarities.mse import MSE
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import Field, Volume

SHARES = {"fixed": 0.0, "moving": 1.0, "symmetric": 0.5}
NOISE = 1e-3  # difference, as a fraction of the image's standard deviation, that moves nothing


class Pair:
    """Two images on one grid, and the force of the demons between them.

    Args:
        problem: What is given on a level.
        step: Longest force, voxels.
        share: Of the warped image in the gradient.
    """

    def __init__(self, problem: Problem, step: float, share: float):
        self.weight, self.term = only_mse(problem.objective)
        fixed, moving = problem.fixed, problem.moving
        self.grid: Grid = fixed.grid
        self.fixed = fixed
        # fields are in voxels of one grid, so both images have to lie on it
        self.moving = moving if moving.grid == fixed.grid else resample(moving, fixed.grid)
        self.share, self.longest = share, step * self.grid.finest
        scale = self.grid.affine[:-1, :-1]
        self.metric = np.linalg.inv(scale.T @ scale)
        spread = float(fixed.data.var() + moving.data.var()) / 2
        # squared, as it stands beside squared differences
        self.floor = max(NOISE**2 * spread, 1e-20)
        self.identity = np.eye(fixed.dim, fixed.dim + 1), np.eye(fixed.dim)

    def sigma(self, voxels: float) -> list[float]:
        """Standard deviations along the axes, of equal length in mm."""
        return [voxels * float(r) for r in self.grid.fineness]

    def warped(self, image: Image, field: Field) -> tuple[Volume, Volume]:
        """An image under a displacement in voxels, and where it counts."""
        index, scale = self.identity
        data, valid = warp(image.data, field, index, scale)
        if image.mask is not None:
            valid = valid * warp(image.mask, field, index, scale)[0]
        return data, valid

    def force(self, fixed: Image, warped: Volume, mask: Volume, out: Field) -> float:
        """Mean squared difference; the force is written to `out`."""
        if fixed.mask is not None:
            mask = mask * fixed.mask
        value = demons(
            fixed.data,
            warped,
            mask,
            self.metric,
            longest=self.longest,
            share=self.share,
            floor=self.floor,
            out=out,
        )
        return float(value.mean())


def flowed(velocity: Field) -> Field:
    """Displacement of the flow along a velocity for unit time; both in voxels."""
    dim = velocity.shape[1]
    longest = largest(velocity, np.eye(dim))
    # in this order a length that is not a number gives no squarings; the cost tells of it
    # as many as bring the first displacement to half a voxel, where first order is enough
    squarings = max(0, int(np.ceil(np.log2(max(1e-9, longest) / 0.5))))
    return exponential(velocity, np.eye(dim, dim + 1), np.eye(dim), squarings)


def only_mse(objective: Objective) -> tuple[float, MSE]:
    """Weight and term of an objective that is the mean squared difference and nothing else.

    Raises:
        ValueError: if it is anything else.
    """
    if len(objective.terms) == 1 and isinstance(objective.terms[0][1], MSE):
        return objective.terms[0]  # type: ignore[return-value]
    raise ValueError(
        f"demons lower the mean squared difference by a force of their own and cannot follow "
        f"{str(objective)!r}; give the objective 'mse', or use compositive or syn"
    )


def one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not known.

    Raises:
        ValueError: naming those that are.
    """
    if value not in known:
        raise ValueError(f"{name} is {value!r}; known: {', '.join(known)}")

"""Cost volume: how well each control point matches each candidate place."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.candidates import best
from coincide.kernels.cost_volume import blurred, cost_volume
from coincide.objective import Similarity
from coincide.registry import build, parts
from coincide.search.lattice import Lattice
from coincide.space.grid import Grid, transform_vectors
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.space.sampling import resample
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement


@dataclass(frozen=True, eq=False)
class CostVolume:
    r"""Cost of each shift for each control point; 1 is that of places picked at random.

    $$c(n, d) = \frac{1}{E\,|n|} \sum_{x \in n} \lVert F(x) - M(x + d) \rVert^2, \qquad
    E = \overline{\lVert F(x) - M(y) \rVert^2}$$

    for features F, M and the voxels x of the cell of control point n. A voxel that is moved out of
    view costs what it would cost in a random place, so that leaving the image never pays; one that
    the mask of the fixed image leaves out costs nothing, and its cell follows its neighbours.

    Args:
        costs: (*N, *L) float32; the only large array of a search.
        lattice: What the axes mean.
    """

    costs: Tensor
    lattice: Lattice

    @cached_property
    def lifted(self) -> np.ndarray:
        """View (nodes, LX, LY, LZ)."""
        shifts = (1,) * (3 - self.lattice.grid.dim) + self.lattice.shifts
        return self.costs.numpy().reshape(-1, *shifts)

    def best(self, goal: Field, pull: float) -> Field:
        r"""Shifts of least $c(n, d) + p\,|d - g(n)|^2$, finer than the steps by a parabola.

        Args:
            goal: g, (1, D, *N), mm.
            pull: p, 1/mm².
        """
        lattice, dim = self.lattice, self.lattice.grid.dim
        goal = transform_vectors(lattice.grid.inverse[:-1, :-1], goal)
        aim = np.zeros((len(self.lifted), 3), np.float32)
        # missing axes come first, as in `places`
        aim[:, 3 - dim :] = goal[0].flatten(1).T.numpy()
        metric = lattice.metric.astype(np.float32)
        # only metric · goal enters the comparison of shifts
        out = best(self.lifted, lattice.places, lattice.lengths, aim @ metric, pull)
        found = torch.from_numpy(np.ascontiguousarray(out[:, 3 - dim :].T))
        return transform_vectors(lattice.grid.affine[:-1, :-1], found.reshape(goal.shape))

    def at(self, field: Field) -> float:
        """Mean cost of displacements (1, D, *N), mm, to the nearest shift."""
        lattice = self.lattice
        index = (
            transform_vectors(lattice.grid.inverse[:-1, :-1], field)[0].flatten(1).round().long()
        )
        where = torch.zeros_like(index[0])
        for along, r, count in zip(index, lattice.radius, lattice.shifts, strict=True):
            # the last axis is the fastest, as in memory
            where = where * count + (along + r).clamp(0, 2 * r)
        return float(self.costs.view(len(where), -1).gather(1, where[:, None]).mean())


def compared(text: str) -> Similarity:
    """The similarity of that text, if its features can be compared shift by shift.

    Raises:
        ValueError: if it cannot, naming those that can.
    """
    similarity = build(text, Similarity)
    if not similarity.squared:
        known = [name for name, part in parts(Similarity).items() if part.squared]
        raise ValueError(
            f"a search compares features by their squared difference, which {text!r} does not; "
            f"use {', '.join(known)}"
        )
    return similarity


def around(image: Image, fine: Grid, wide: Grid, moved: Displacement | None = None) -> Image:
    """The image on the voxels of `fine`, continued to cover those of `wide`.

    Args:
        image: (1, C, *S) on any grid.
        fine: Grid on which features are to be computed.
        wide: Where they are wanted; at least as coarse as `fine`, along the same axes.
        moved: Displacement already found, under which the image is seen.
    """
    corners = np.array([[-0.5] * wide.dim, np.array(wide.shape) - 0.5])
    low, high = fine.to_index(wide.to_world(corners))
    # whole voxels of `fine` that reach at least as far as the faces of `wide`
    grid = fine.crop(np.floor(low + 0.5).astype(int), np.ceil(high + 0.5).astype(int))
    own = image.grid
    image = at(image, own.shrink(own.factors(float(fine.spacing.min()))))
    field = None if moved is None else moved.on(grid).field.detach()
    # with a mask the border continues; without, the end of the image would look like an edge
    return resample(image.with_mask(image.weight()), grid, field)


def volume(fixed: Image, moving: Image, lattice: Lattice, sigma: float) -> CostVolume:
    """Compare two feature images on the wide grid of a lattice.

    Args:
        fixed: Features of the image whose cells are looked for; its mask says where they count.
        moving: Features of the image in which they are looked for.
        lattice: Which cells and shifts.
        sigma: Standard deviation of the Gaussian on the costs, cells.
    """
    radius = lattice.radius
    stop = [r + n for r, n in zip(radius, lattice.grid.shape, strict=True)]
    core = fixed.crop(radius, tuple(stop))
    weight, seen = core.weight()[0, 0], moving.weight()[0, 0]
    F, M = core.data[0], moving.data[0]
    mass = seen.sum().clamp_min(1e-12)
    voxels = tuple(range(1, M.ndim))
    mean = ((seen * M).sum(voxels) / mass).view(-1, *(1,) * (M.ndim - 1))
    # |F - M(y)|² expected of a random y: squared distance to the mean of M, and its variance
    unknown = (F - mean).square().sum(0) + (seen * (M - mean).square()).sum() / mass
    typical = float((weight * unknown).sum() / weight.sum().clamp_min(1e-12))
    # between two constant images every place is as good as any other
    scale = 1 / (np.prod(lattice.cell) * typical) if typical > 1e-12 else 0.0
    costs = cost_volume(F, weight, unknown, M, seen, lattice.cell, scale)
    return CostVolume(blurred(costs, sigma, lattice.grid.dim), lattice)

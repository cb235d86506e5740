"""Strata: random points that cover a mask evenly."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.shapes import Points


class Strata:
    """Draws points, a few thousand of many voxels, such that no part of the mask goes without.

    Voxels of the mask are put in a row, block by block, and the row is cut into as many equal
    parts as points are wanted: one voxel is drawn of each, and a place inside it. So every voxel
    comes as often as any other, and points in a step are about as far apart as they can be.

    Args:
        grid: Where the voxels lie.
        count: Points wanted at a time; no more are drawn than there are voxels.
        mask: (1, 1, *S); only voxels above 0 count; None: all.
        jitter: Whether points lie anywhere inside their voxel, or at its centre.

    Raises:
        ValueError: if the mask covers no voxel.
    """

    def __init__(self, grid: Grid, count: int, mask: Tensor | None = None, *, jitter: bool = True):
        self.grid, self.jitter = grid, jitter
        covered = np.ones(grid.shape, bool) if mask is None else (mask[0, 0] > 0).cpu().numpy()
        voxels = np.argwhere(covered)
        if not len(voxels):
            raise ValueError(
                "the mask of the fixed image covers no voxel; draw it, or leave it out"
            )
        self.count = min(count, len(voxels))
        # blocks of one point each, as cubic as the voxels allow
        side = float(np.prod(grid.extent) / grid.voxels * len(voxels) / self.count) ** (
            1 / grid.dim
        )
        blocks = voxels // np.array(grid.factors(side))
        order = np.lexsort(blocks.T[::-1])
        self.voxels = torch.as_tensor(voxels[order])

    def draw(self, generator: torch.Generator) -> tuple[Points, Tensor]:
        """Points, (1, P, D) mm, and the voxel that each lies in, (P, D)."""
        part = torch.arange(self.count) + torch.rand(self.count, generator=generator)
        # a sum of float32 may round up to the end of the row
        place = (part.double() * (len(self.voxels) / self.count)).long()
        voxels = self.voxels[place.clamp_max(len(self.voxels) - 1)]
        index = voxels.double()
        if self.jitter:
            index = index + torch.rand(index.shape, generator=generator) - 0.5
            # an axis of one voxel is a section, seen in its middle
            index = torch.where(torch.tensor(self.grid.shape) > 1, index, voxels.double())
        affine = torch.tensor(self.grid.affine)
        points = index @ affine[:-1, :-1].T + affine[:-1, -1]
        return points.float()[None], voxels

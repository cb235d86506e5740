"""Simulated: moving images made from fixed ones by a random deformation that is known."""

import torch
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.noise import uniform, whole
from coincide.training.augment import random_matrix
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine

COARSE, FINE = (0.15, 0.3), (0.06, 0.12)  # correlation lengths as shares of the mean extent
STEEPEST = 0.3  # peak of each displacement as a share of its correlation length, at most
SEEDS = 2**31 - 1


def random_field(grid: Grid, random: torch.Generator) -> Tensor:
    """A small affine map and two smooth displacements, coarse and fine, in one, (1, D, *S), mm.

    Args:
        grid: Where it lies.
        random: Which ones.
    """
    field = Affine(random_matrix(grid, random)).displacement(grid).detach()
    extent = float(grid.extent.mean())
    for low, high in (COARSE, FINE):
        sigma = extent * uniform(random, low, high)
        peak = sigma * uniform(random, 0, STEEPEST)
        seed = whole(random, 0, SEEDS)
        field = smooth_displacement(grid, peak=peak, sigma=sigma, seed=seed).displacement(
            grid, field
        )
    return field.detach()


def simulated(
    fixed: Image, labels: Image | None, random: torch.Generator
) -> tuple[Image, Image | None, Tensor]:
    """Moving images, their label maps, and the displacement that leads to them from the fixed ones.

    Args:
        fixed: (B, 1, *S), with a mask.
        labels: Of the fixed images, on the same grid; None: none.
        random: Which deformations.

    Returns:
        Both, each fixed image and its map bent; and (B, D, *S), mm, of fixed to moving points.
    """
    fields = torch.cat([random_field(fixed.grid, random) for _ in fixed.data])
    back = Displacement(field=fields, grid=fixed.grid).inverse().field.detach()
    moving = resample(fixed, fixed.grid, back)
    bent = None
    if labels is not None:
        bent = resample(labels, labels.grid, back, interpolation="label")
    return moving, bent, fields

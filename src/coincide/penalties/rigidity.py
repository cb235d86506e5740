"""Rigidity: bone that may move but not bend."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import determinant, gradient, squared_gradient

REACH = 2  # voxels around the mask that its second derivatives see
Place = tuple[Tensor, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Rigidity(Penalty):
    r"""How far a transform is from a rigid motion inside a mask of the fixed image (mean over it).

    Each separate part of the mask may move in its own way.

    $$
    \frac{1}{\int w} \int w \left[ \alpha_a \sum_{d, a, b} \left(
        \frac{\partial^2 u_d}{\partial x_a \partial x_b} \right)^2
    + \alpha_o \lVert J^\top J - I \rVert_F^2 + \alpha_p (\det J - 1)^2 \right] \mathrm{d}x
    $$

    Args:
        where: Image of weights w in [0, 1] in the fixed world, (1, 1, *S); any grid.
        affinity: Weight of curved displacement, mm² (0 or more).
        orthonormality: Weight of stretch and shear (no unit, 0 or more).
        properness: Weight of changed volume (no unit, 0 or more).

    Raises:
        ValueError: if no voxel has a weight, or one is negative.

    Example:
        >>> bone = image.with_data((image.data > 0.5).float())
        >>> float(Rigidity(bone)(alignment))
        0.0

    References:
        Staring, Klein, Pluim (2007), doi:10.1118/1.2776236.
    """

    where: Image
    affinity: float = 1.0
    orthonormality: float = 1.0
    properness: float = 1.0
    placed: dict[Grid, Place] = field(default_factory=dict, init=False, repr=False)
    name = "rigidity"

    def __post_init__(self):
        low, high = float(self.where.data.min()), float(self.where.data.max())
        if low < 0 or high <= 0:
            raise ValueError(
                f"weights of rigidity lie in [0, 1], 1 in bone; got {low:g} to {high:g}"
            )

    def __str__(self) -> str:
        return self.name

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        whole, grid = alignment.displacement, alignment.fixed.grid
        # once a grid, not once a step
        if grid not in self.placed:
            self.placed[grid] = _placed(self.where, grid)
        weight, start, stop = self.placed[grid]
        box = (..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))
        # the rest of the field, usually most of it, is not looked at
        u, part = whole[box].contiguous(), grid.crop(start, stop)
        slope = gradient(u, part)
        one = torch.eye(grid.dim, dtype=u.dtype, device=u.device)
        one = one.view(1, grid.dim, grid.dim, *(1,) * grid.dim)
        matrix = slope + one
        # JᵀJ - I: zero for rotations, whatever their angle
        strain = torch.einsum("bca...,bce...->bae...", matrix, matrix) - one
        cost = self.orthonormality * strain.square().sum((1, 2))[:, None]
        cost = cost + self.properness * (determinant(u, part) - 1).square()
        cost = cost + self.affinity * squared_gradient(slope.flatten(1, 2), part)
        weight = weight.to(u)
        return (weight * cost).flatten(1).sum(1) / weight.sum().clamp_min(1e-12)


def _placed(where: Image, grid: Grid) -> Place:
    """Weights on a grid, cropped to where there are any, and the box they lie in."""
    weight = at(where.float().with_mask(None), grid).data[:1]
    start, stop = [], []
    for axis, n in enumerate(grid.shape, start=2):
        others = tuple(d for d in range(weight.ndim) if d != axis)
        some = torch.nonzero(weight.sum(others))
        low, high = (int(some.min()), int(some.max()) + 1) if len(some) else (0, 1)
        start.append(max(0, low - REACH))
        stop.append(min(n, high + REACH))
    box = (..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))
    return weight[box].contiguous(), tuple(start), tuple(stop)

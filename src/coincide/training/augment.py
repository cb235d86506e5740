"""Augment: one image turned, stretched, shifted and shown through another curve of intensities."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample

DEGREES, STRETCH, SHIFT = 6.0, 0.05, 0.03  # standard deviations; the shift as a share of the extent
GAMMA, LEVEL = 0.2, 0.1  # standard deviations of the logarithm of the power, and of an offset


def moved(
    image: Image, labels: Image | None, random: torch.Generator
) -> tuple[Image, Image | None, np.ndarray]:
    """Images of a batch and their label maps, each under another random affine map.

    Args:
        image: (B, 1, *S), from 0 to 1, with a mask.
        labels: On the same grid; None: none.
        random: Which maps and curves.

    Returns:
        Both, and the maps, (B, D+1, D+1): what was at A x is at x now, mm.
    """
    images, maps, matrices = [], [], []
    for b in range(len(image.data)):
        matrix = random_matrix(image.grid, random)
        matrices.append(matrix)
        seen = resample(image.pair(b), image.grid, after=matrix)
        images.append(seen.with_data(_curved(seen.data, random)))
        if labels is not None:
            maps.append(resample(labels.pair(b), image.grid, after=matrix, interpolation="label"))
    data, masks = (
        torch.cat(parts) for parts in zip(*[(i.data, i.weight()) for i in images], strict=True)
    )
    whole = torch.cat([m.data for m in maps]) if maps else None
    made = None if labels is None or whole is None else Image(whole, labels.grid)
    return Image(data, image.grid, masks), made, np.stack(matrices)


def random_matrix(grid: Grid, random: torch.Generator) -> np.ndarray:
    """A small turn, stretch and shift about the middle of a grid, mm to mm, (D+1, D+1)."""
    dim = grid.dim
    draws = torch.randn(dim * dim + 2 * dim, generator=random, dtype=torch.float64)
    skew = np.radians(DEGREES) * draws[: dim * dim].view(dim, dim) / 2**0.5
    turn = torch.linalg.matrix_exp(skew - skew.T)
    stretch = torch.diag((STRETCH * draws[dim * dim : dim * dim + dim]).exp())
    matrix = np.eye(dim + 1)
    matrix[:-1, :-1] = (turn @ stretch).numpy()
    shift = SHIFT * grid.extent * draws[-dim:].numpy()
    matrix[:-1, -1] = grid.centre + shift - matrix[:-1, :-1] @ grid.centre
    return matrix


def _curved(data: Tensor, random: torch.Generator) -> Tensor:
    """Intensities from 0 to 1 through a random power, moved a little."""
    power, level = torch.randn(2, generator=random).tolist()
    return data.clamp(0, 1) ** float(np.exp(GAMMA * power)) + LEVEL * level

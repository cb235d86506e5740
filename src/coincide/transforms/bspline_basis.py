"""Cubic B-splines along one axis, as small matrices: a field is their separable product.

Control point n of an axis lies at lattice position n; the domain runs from position 1 to m - 2.
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor


def basis(t: Tensor) -> Tensor:
    """Weights of the four control points about a cell, at the fraction t of the cell; (..., 4)."""
    s = 1 - t
    return torch.stack(
        [s**3 / 6, 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2, t**3 / 6], -1
    )


def spread(positions: np.ndarray, count: int, order: int = 0) -> np.ndarray:
    """Matrix from `count` control points to values (or derivatives) at lattice positions.

    Args:
        positions: (N,) lattice positions; rows outside the domain are zero.
        count: Number of control points m.
        order: 0 value, 1 first, 2 second derivative, per lattice step.

    Returns:
        (N, m).
    """
    t = positions - np.clip(np.floor(positions), 1, count - 3)
    first = np.clip(np.floor(positions), 1, count - 3).astype(int) - 1
    s = 1 - t
    weights = {
        0: [s**3 / 6, 2 / 3 - t * t * (2 - t) / 2, 2 / 3 - s * s * (2 - s) / 2, t**3 / 6],
        1: [-(s**2) / 2, 1.5 * t * t - 2 * t, 2 * s - 1.5 * s * s, t * t / 2],
        2: [s, 3 * t - 2, 3 * s - 2, t],
    }[order]
    matrix = np.zeros((len(positions), count))
    # both ends belong to the domain, whatever rounding makes of a voxel that lies on one
    inside = (positions >= 1 - 1e-9) & (positions <= count - 2 + 1e-9)
    for n, weight in enumerate(weights):
        matrix[np.arange(len(positions)), first + n] = weight * inside
    return matrix


@cache
def gram(count: int, order: int, other: int | None = None) -> np.ndarray:
    """Integrals over the domain of products of basis functions (or derivatives), (m, m).

    Args:
        count: Number of control points m.
        order: Which derivative of the first factor, 0 to 2.
        other: Which of the second; None: the same.
    """
    nodes, weights = np.polynomial.legendre.leggauss(4)  # exact to degree 7; products have 6
    cells = np.arange(1, count - 2)
    # Gauss's nodes lie in [-1, 1], a cell in [0, 1]; hence the halves, here and of the weights
    positions = (cells[:, None] + (nodes + 1) / 2).ravel()
    first = spread(positions, count, order)
    second = first if other is None else spread(positions, count, other)
    return first.T @ (second * np.tile(weights / 2, len(cells))[:, None])


def refinement(count: int) -> np.ndarray:
    """Matrix from m control points to the 2m - 3 of the same spline at half the distance.

    Even points take (1, 6, 1)/8, odd points (1, 1)/2 of their neighbours.
    """
    fine = 2 * (count - 3) + 3
    matrix = np.zeros((fine, count))
    for n in range(fine):
        # where a fine point lies among the coarse: both domains begin at position 1
        at = (n - 1) / 2 + 1
        low = int(np.floor(at))
        if at == low:
            matrix[n, low - 1 : low + 2] = 1 / 8, 6 / 8, 1 / 8
        else:
            matrix[n, low : low + 2] = 1 / 2
    return matrix


def separable(field: Tensor, matrices: list[np.ndarray]) -> Tensor:
    """Apply a matrix (out, in) along each spatial axis of (B, C, *S)."""
    for axis, matrix in enumerate(matrices, start=2):
        weight = torch.as_tensor(matrix, dtype=field.dtype, device=field.device)
        field = (field.movedim(axis, -1) @ weight.T).movedim(-1, axis)
    return field.contiguous()

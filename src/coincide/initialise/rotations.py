"""Rotations: evenly spread orientations."""

import numpy as np


def rotations(dim: int, count: int) -> list[np.ndarray]:
    """About `count` rotation matrices (D, D) spread evenly over all orientations.

    In 3-D by the super-Fibonacci spiral; in 2-D by equal angles; the identity comes first.

    References:
        Alexa (2022), doi:10.1109/CVPR52688.2022.00811.
    """
    if dim == 2:
        angles = 2 * np.pi * np.arange(count) / count
        return [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    # √2 and the root of ψ⁴ = ψ + 4, as the paper chooses them
    phi, psi = np.sqrt(2.0), 1.533751168755204288118041
    s = np.arange(count) + 0.5
    r, big = np.sqrt(s / count), np.sqrt(1 - s / count)
    a, b = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    quaternions = np.stack([r * np.sin(a), r * np.cos(a), big * np.sin(b), big * np.cos(b)], 1)
    return [np.eye(3), *(_matrix(q) for q in quaternions)]


def _matrix(q: np.ndarray) -> np.ndarray:
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two rotations (D, D), degrees."""
    relative = a.T @ b
    if len(a) == 2:
        return float(np.degrees(abs(np.arctan2(relative[1, 0], relative[0, 0]))))
    # rounding may leave [-1, 1], where arccos is not a number
    return float(np.degrees(np.arccos(np.clip((np.trace(relative) - 1) / 2, -1, 1))))

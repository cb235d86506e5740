"""The same search with every block cut out: the reference."""

import numpy as np


def match(
    fixed: np.ndarray,
    warped: np.ndarray,
    known: np.ndarray,
    starts: np.ndarray,
    size: tuple[int, ...],
    reach: tuple[int, ...],
) -> np.ndarray:
    """Scores (N, 2r+1, ...) in float64; see `coincide.kernels.blocks`."""
    width = tuple(2 * r + 1 for r in reach)
    scores = np.full((len(starts), *width), -1.0)
    for n, start in enumerate(starts):
        block = fixed[_box(start, size)].astype(float)
        for offset in np.ndindex(*width):
            place = start + np.array(offset) - reach
            if (place < 0).any() or (place + size > warped.shape).any():
                continue
            if known[_box(place, size)].all():
                scores[(n, *offset)] = _correlation(block, warped[_box(place, size)].astype(float))
    return scores


def _box(start: np.ndarray, size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(a) + n) for a, n in zip(start, size, strict=True))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """|NCC|; 0 where either does not vary."""
    one, other = one - one.mean(), other - other.mean()
    spread = (one * one).sum() * (other * other).sum()
    return abs((one * other).sum()) / np.sqrt(spread) if spread > 1e-12 * one.size**2 else 0.0

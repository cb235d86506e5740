"""Label names: whether two label maps number organs alike."""

import numpy as np

from coincide.scores.overlap import counts

CLEAR = 0.3  # Dice above which two labels are seen to be the same organ
FEW = 0.25  # share of the labels that must fit another number better before it is said


def differently_numbered(fixed: np.ndarray, warped: np.ndarray) -> dict[int, int]:
    """Fixed labels that cover another number of the warped map clearly better than their own.

    Two maps that number organs differently score low without any fault of the registration; after
    a good one the organs lie on each other all the same, and that shows it.

    Args:
        fixed: Integer labels, (*S).
        warped: Moving labels on the fixed grid, (*S).

    Returns:
        Fixed number to the number that lies there; empty where the numbers seem to mean the same.

    Example:
        >>> differently_numbered(np.array([0, 1, 1, 2, 2, 2]), np.array([0, 7, 7, 9, 9, 9]))
        {1: 7, 2: 9}
    """
    size, other = counts(fixed), counts(warped)
    both = (fixed != 0) & (warped != 0)
    rows, columns = np.array(list(size), np.int64), np.array(list(other), np.int64)
    # counted in places of the sorted labels, which are few whatever the numbers are
    places = np.searchsorted(rows, fixed[both]) * len(columns)
    joint = np.bincount(places + np.searchsorted(columns, warped[both]))
    dice = {}
    for place in np.flatnonzero(joint):
        a, b = int(rows[place // len(columns)]), int(columns[place % len(columns)])
        dice[a, b] = 2 * int(joint[place]) / (size[a] + other[b])
    best: dict[int, tuple[float, int]] = {}
    for (a, b), value in dice.items():
        best[a] = max(best.get(a, (0.0, 0)), (value, b))
    found = {
        a: b
        for a, (value, b) in sorted(best.items())
        if b != a and value > CLEAR and value > 2 * dice.get((a, a), 0.0)
    }
    return found if len(found) > FEW * len(size) else {}

"""Candidates: the best shift of each node, and how clear the choice is; compiled loops alone."""

import numpy as np

from coincide.kernels.candidates import loops


def best(
    costs: np.ndarray, places: np.ndarray, lengths: np.ndarray, drawn: np.ndarray, force: float
) -> np.ndarray:
    """The shift of least cost + force · |shift - goal|² at every node, finer than the steps.

    Args:
        costs: (N, LX, LY, LZ) float32, contiguous.
        places: (L, 3) shifts in steps, the last axis fastest.
        lengths: (L,) their squared lengths by a metric.
        drawn: (N, 3) metric · goal.
        force: Cost of a squared length of one.

    Returns:
        (N, 3) in steps.
    """
    out = np.empty_like(drawn)
    loops.best(costs, places, lengths, drawn, costs.dtype.type(force), out)
    return out


def spread(
    costs: np.ndarray,
    places: np.ndarray,
    lengths: np.ndarray,
    metric: np.ndarray,
    temperature: float,
) -> np.ndarray:
    """Variance of the shifts of every node weighted by exp(-cost / temperature).

    Args:
        costs: (N, L) float32.
        places: (L, 3) shifts in steps.
        lengths: (L,) their squared lengths by the metric.
        metric: (3, 3), steps to a squared length.
        temperature: Difference of costs that counts as one.

    Returns:
        (N,), a squared length.
    """
    out = np.empty(len(costs), costs.dtype)
    loops.spread(costs, places, lengths, metric, costs.dtype.type(temperature), out)
    return out

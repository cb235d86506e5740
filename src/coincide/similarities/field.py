"""Field: points sent as a known transform sends them."""

from dataclasses import dataclass

import numpy as np

from coincide.alignment import Alignment
from coincide.objective import OnPair, PairedTerm
from coincide.registry import named, positive
from coincide.similarities.landmarks import gaps, paired
from coincide.space.shapes import PerPair


@named("field")
@dataclass(frozen=True)
class Field(PairedTerm):
    r"""Mean squared distance from where a known transform sends points, mm².

    $$\frac{1}{P} \sum_p |T(x_p) - y_p|^2$$

    For networks that are trained on transforms whose truth is known, such as simulated ones, or
    taken for the truth, such as those of an optimiser.

    Args:
        points: How many places of each pair a step of training looks at; half of them are drawn
            evenly from the foreground, half such that every length of displacement is as frequent.

    References:
        Cao et al. (2017), doi:10.1007/978-3-319-66182-7_35, for lengths as frequent as each other.
    """

    points: int = 1024

    def __post_init__(self):
        positive(self, "points")

    def of(self, fixed: np.ndarray, moving: np.ndarray) -> OnPair:
        """The term for points and where the known transform sends them, mm.

        Args:
            fixed: (P, D) of one pair; or (B, P, D), those of each pair of a batch, NaN where a
                pair has fewer, and 0 is the cost of one that has none.
            moving: The same.

        Raises:
            ValueError: if the two sets differ in shape.
        """
        return OnPair(self, *paired(fixed, moving))

    def cost(self, fixed: np.ndarray, moving: np.ndarray, alignment: Alignment) -> PerPair:
        """Squared distance in mm², (B,)."""
        gap, weight = gaps(fixed, moving, alignment)
        return (weight * gap).sum(-1)

"""Folding: space turned inside out."""

from dataclasses import dataclass

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair


@named("folding")
@dataclass(frozen=True)
class Folding(Penalty):
    r"""Mean of the negative part of the Jacobian determinant (no unit); 0 without folds.

    $$\frac{1}{|\Omega|} \int_\Omega \max(0, -\det J) \, \mathrm{d}x$$

    Example:
        >>> float(Folding()(alignment))
        0.0

    References:
        Mok, Chung (2020), doi:10.1007/978-3-030-59716-0_21.
    """

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return (-alignment.jacobian).clamp_min(0).flatten(1).mean(1)

"""Folding: space turned inside out."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import determinant_at


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

    order = 1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return (-alignment.jacobian).clamp_min(0).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Negative part of the determinant at points, (B, P)."""
        return (-determinant_at(jacobian)).clamp_min(0)

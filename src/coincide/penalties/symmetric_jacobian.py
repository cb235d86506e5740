"""Symmetric Jacobian: change of volume, the same seen from either image."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import determinant_at


@named("symmetric_jacobian")
@dataclass(frozen=True)
class SymmetricJacobian(Penalty):
    r"""Mean of a barrier against folding that treats a map and its inverse alike (no unit).

    $$
    \frac{1}{|\Omega|} \int_\Omega \frac{(\det J - 1)^2}{\det J} \, \mathrm{d}x
    = \frac{1}{|\Omega|} \int_\Omega \det J + \frac{1}{\det J} - 2 \, \mathrm{d}x
    $$

    Below `floor`, and where space is folded, the cost goes on along its tangent. Where others hold
    the cost constant there, a fold has no slope and is never opened.

    Args:
        floor: Determinant below which the tangent stands in (no unit, in (0, 1)).

    Example:
        >>> float(SymmetricJacobian()(alignment))
        0.0

    References:
        van Harten et al. (2024), arXiv:2310.01934.
    """

    order = 1
    floor: float = 0.1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return self._barrier(alignment.jacobian).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The barrier at points, (B, P)."""
        return self._barrier(determinant_at(jacobian))

    def _barrier(self, det: Tensor) -> Tensor:
        held = det.clamp_min(self.floor)
        # derivative of the barrier at the floor, along which it goes on below
        slope = 1 - 1 / self.floor**2
        return (held - 1).square() / held + slope * (det - self.floor).clamp_max(0)

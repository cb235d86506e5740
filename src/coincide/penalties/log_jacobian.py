"""Log Jacobian: change of volume, growth and shrinkage alike."""

import math
from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import determinant_at


@named("log_jacobian")
@dataclass(frozen=True)
class LogJacobian(Penalty):
    r"""Mean squared logarithm of the Jacobian determinant (no unit): doubling costs like halving.

    $$\frac{1}{|\Omega|} \int_\Omega (\log \det J)^2 \, \mathrm{d}x$$

    Below `floor`, and where space is folded, the cost goes on along its tangent, so that folds
    have a finite cost and a slope that opens them.

    Args:
        floor: Determinant below which the tangent stands in (no unit, in (0, 1)).

    Example:
        >>> float(LogJacobian()(alignment))
        0.0

    References:
        Rohlfing et al. (2003), doi:10.1109/TMI.2003.814791.
    """

    order = 1
    floor: float = 0.1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return self._cost(alignment.jacobian).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Squared logarithm at points, (B, P)."""
        return self._cost(determinant_at(jacobian))

    def _cost(self, det: Tensor) -> Tensor:
        # derivative of log² at the floor, along which it goes on below
        slope = 2 * math.log(self.floor) / self.floor
        return det.clamp_min(self.floor).log().square() + slope * (det - self.floor).clamp_max(0)

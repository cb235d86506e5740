"""Linear elastic energy: strain."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import gradient, slopes_at


@named("elastic")
@dataclass(frozen=True)
class Elastic(Penalty):
    r"""Energy of a linear elastic body (no unit); translations are free, rotations nearly.

    $$
    \frac{1}{|\Omega|} \int_\Omega \mu \lVert \varepsilon \rVert_F^2
        + \frac{\lambda}{2} (\operatorname{tr} \varepsilon)^2 \, \mathrm{d}x,
    \qquad \varepsilon = \tfrac{1}{2} (\nabla u + \nabla u^\top)
    $$

    Args:
        mu: Resistance to shear (no unit, 0 or more).
        lamda: Resistance to change of volume (no unit, 0 or more).

    Example:
        >>> float(Elastic()(alignment))
        0.0

    References:
        Broit (1981), Optimal registration of deformed images, University of Pennsylvania.
    """

    order = 1
    mu: float = 1.0
    lamda: float = 1.0

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        slope = gradient(alignment.displacement, alignment.fixed.grid)
        return self._energy(slope.movedim((1, 2), (-2, -1))).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Energy at points, (B, P)."""
        return self._energy(slopes_at(jacobian))

    def _energy(self, slope: Tensor) -> Tensor:
        strain = (slope + slope.transpose(-2, -1)) / 2
        shear = strain.square().sum((-2, -1))
        # the trace is the change of volume to first order
        volume = strain.diagonal(dim1=-2, dim2=-1).sum(-1).square()
        return self.mu * shear + self.lamda / 2 * volume

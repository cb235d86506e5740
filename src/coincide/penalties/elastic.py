"""Linear elastic energy: strain."""

from dataclasses import dataclass

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import gradient


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

    mu: float = 1.0
    lamda: float = 1.0

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        slope = gradient(alignment.displacement, alignment.fixed.grid)
        strain = (slope + slope.transpose(1, 2)) / 2
        shear = strain.square().sum((1, 2))
        # the trace is the change of volume to first order
        volume = strain.diagonal(dim1=1, dim2=2).sum(-1).square()
        return (self.mu * shear + self.lamda / 2 * volume).flatten(1).mean(1)

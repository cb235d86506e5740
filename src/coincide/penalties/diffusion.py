"""Diffusion: uneven displacement."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import slopes_at, squared_gradient


@named("diffusion")
@dataclass(frozen=True)
class Diffusion(Penalty):
    r"""Mean squared gradient of the displacement (no unit); translations are free.

    $$\frac{1}{|\Omega|} \int_\Omega \lVert \nabla u \rVert_F^2 \, \mathrm{d}x$$

    Example:
        >>> float(Diffusion()(alignment))
        0.0

    References:
        Fischer, Modersitzki (2002), doi:10.1090/conm/313/05372.
    """

    order = 1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        slope = squared_gradient(alignment.displacement, alignment.fixed.grid)
        return slope.flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Squared gradient at points, (B, P)."""
        return slopes_at(jacobian).square().sum((-2, -1))

"""Total variation: displacement that is even but for a few jumps, as where organs slide."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import slopes_at, squared_gradient


@named("total_variation")
@dataclass(frozen=True)
class TotalVariation(Penalty):
    r"""Mean length of the gradient of the displacement (no unit); translations are free.

    A jump costs its height once, however sharp it is, so two organs may slide along each other,
    which diffusion smears out.

    $$
    \frac{1}{|\Omega|} \int_\Omega \sqrt{\lVert \nabla u \rVert_F^2 + \epsilon^2} - \epsilon
        \, \mathrm{d}x
    $$

    Args:
        epsilon: Gradient below which it acts as diffusion (no unit, > 0).

    Example:
        >>> float(TotalVariation()(alignment))
        0.0

    References:
        Vishnevskiy et al. (2017), doi:10.1109/TMI.2016.2610583.
    """

    order = 1
    epsilon: float = 0.01

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        square = squared_gradient(alignment.displacement, alignment.fixed.grid)
        return self._length(square).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Length of the gradient at points, (B, P)."""
        return self._length(slopes_at(jacobian).square().sum((-2, -1)))

    def _length(self, square: Tensor) -> Tensor:
        # written so that nothing is lost of a small gradient
        return square / ((square + self.epsilon**2).sqrt() + self.epsilon)

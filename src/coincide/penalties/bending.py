"""Bending: curved displacement."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import gradient, squared_gradient


@runtime_checkable
class Closed(Protocol):
    """A transform that knows its bending in closed form."""

    def bending(self) -> PerPair:
        """Mean squared second derivative over its domain, 1/mm², (B,)."""
        ...


@named("bending")
@dataclass(frozen=True)
class Bending(Penalty):
    r"""Mean squared second derivative of the displacement, 1/mm²; affine maps are free.

    $$\frac{1}{|\Omega|} \int_\Omega \sum_{d, a, b}
        \left( \frac{\partial^2 u_d}{\partial x_a \partial x_b} \right)^2 \mathrm{d}x$$

    A transform that has a method `bending`, as those by cubic B-splines have, gives it in closed
    form.

    Example:
        >>> float(Bending()(alignment))
        0.0

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284.
    """

    order = 2

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        if isinstance(alignment.transform, Closed):
            return alignment.transform.bending()
        grid = alignment.fixed.grid
        # slopes as channels, whose squared slopes add up over d, a and b at once
        slope = gradient(alignment.displacement, grid).flatten(1, 2)
        return squared_gradient(slope, grid).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Squared second derivatives at points, (B, P)."""
        assert hessian is not None
        return hessian.square().sum((-3, -2, -1))

"""Curvature: displacement that is not harmonic."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import laplacian


@named("curvature")
@dataclass(frozen=True)
class Curvature(Penalty):
    r"""Mean squared Laplacian of the displacement, 1/mm²; affine maps are free.

    Cheaper than bending, and as smooth, but for fields whose curvatures cancel.

    $$
    \frac{1}{|\Omega|} \int_\Omega \sum_d \left( \sum_a
        \frac{\partial^2 u_d}{\partial x_a^2} \right)^2 \mathrm{d}x
    $$

    Example:
        >>> float(Curvature()(alignment))
        0.0

    References:
        Fischer, Modersitzki (2003), doi:10.1023/A:1021897212261.
    """

    order = 2

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        curved = laplacian(alignment.displacement, alignment.fixed.grid)
        return curved.square().sum(1).flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Squared Laplacian at points, (B, P)."""
        assert hessian is not None
        return hessian.diagonal(dim1=-2, dim2=-1).sum(-1).square().sum(-1)

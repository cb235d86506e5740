"""Volume: tissue that grows or shrinks."""

from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import determinant_at


@named("volume")
@dataclass(frozen=True)
class Volume(Penalty):
    r"""Mean change of volume (no unit): 0.1 means that volumes change by 10 % on average.

    $$\frac{1}{|\Omega|} \int_\Omega |\det J - 1| \, \mathrm{d}x$$

    Example:
        >>> float(Volume()(alignment))
        0.0

    References:
        Wolterink, Zwienenberg, Brune (2022), Implicit neural representations for deformable image
        registration, PMLR 172.
    """

    order = 1

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return (alignment.jacobian - 1).abs().flatten(1).mean(1)

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Change of volume at points, (B, P)."""
        return (determinant_at(jacobian) - 1).abs()

"""Volume: tissue that grows or shrinks."""

from dataclasses import dataclass

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import named
from coincide.space.shapes import PerPair


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

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        return (alignment.jacobian - 1).abs().flatten(1).mean(1)

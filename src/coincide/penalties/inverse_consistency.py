"""Inverse consistency: there and back again leads to the start."""

from dataclasses import dataclass

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import PerPair
from coincide.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class InverseConsistency(Penalty):
    r"""Mean squared distance by which a transform and its partner miss the start, mm².

    $$\frac{1}{|\Omega'|} \int_{\Omega'} \lVert S(T(x)) - x \rVert^2 \, \mathrm{d}x$$

    over the fixed voxels $\Omega'$ that T keeps inside the moving image and its mask: beyond it the
    partner knows nothing.

    The partner S may be known, such as the result of registering the other way round, or be
    optimised too: gradients reach its parameters. Then give each of the two objectives this term
    with the other's transform.

    Args:
        partner: Moving-world to fixed-world points.

    Example:
        >>> from coincide.transforms.displacement import Displacement
        >>> float(InverseConsistency(Displacement(grid=image.grid))(alignment).detach())
        0.0

    References:
        Christensen, Johnson (2001), doi:10.1109/42.932742.
    """

    partner: Transform
    whole = True
    name = "inverse_consistency"

    def __str__(self) -> str:
        return self.name

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        grid, moving = alignment.fixed.grid, alignment.moving
        there = alignment.displacement
        # the partner leads back from the world of the moving image, wherever that was brought to
        whole = there if alignment.outer is None else alignment.whole.displacement(grid)
        missed = self.partner.displacement(grid, whole).square().sum(1, keepdim=True)
        shown = Image(moving.weight(), moving.grid)
        # where the image ends is a matter of fact, not something to be moved for a lower cost
        inside = resample(shown, grid, there.detach())
        inside = (inside.data * inside.weight()).to(missed.dtype)
        total = (inside * missed).flatten(1).sum(1)
        return total / inside.expand_as(missed).flatten(1).sum(1).clamp_min(1e-12)

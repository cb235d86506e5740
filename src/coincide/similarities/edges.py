"""Edge strength: match where images change, whichever way."""

from dataclasses import dataclass

from coincide.features.gradients import edge_strength
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("edges")
@dataclass(frozen=True)
class Edges(Similarity):
    r"""Squared difference of standardised edge images, whatever the contrast of the edges.

    $$
    \frac{1}{|\Omega|} \int_\Omega (E_F - E_W)^2 \, \mathrm{d}x, \qquad
    E_I = \frac{|\nabla I| - \operatorname{mean} |\nabla I|}{\operatorname{std} |\nabla I|}
    $$

    Where `ngf` compares the direction of edges and forgets their strength, this compares their
    strength and forgets their direction. Edge images are made once, then warped.

    Args:
        pyramid: Whether edges are made on the finest level alone and averaged for coarser
            ones, rather than of the coarse images.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) edge images on one grid; returns (B,), 0 is
        best.

    Example:
        >>> Edges().compare(*[Edges().prepare(image)] * 2)
        tensor([0.])

    References:
        Maintz et al. (1996), Medical Image Analysis 1(2), 151-161.
    """

    squared = True
    pointwise = True
    pyramid: bool = False

    def prepare(self, image: Image) -> Image:
        """Gradient magnitude with mean 0 and variance 1."""
        # two modalities share where edges are, not how strong: both are brought to one scale
        return edge_strength(image).standardised()

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

"""Normalised gradient fields: match edges, whatever their contrast."""

from dataclasses import dataclass

from coincide.features.gradients import edge_tensor
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("ngf")
@dataclass(frozen=True)
class NGF(Similarity):
    r"""Normalised gradient field distance, for images of different modalities.

    Two images agree where their edges are parallel, in the same or the opposite sense. With
    $n = \nabla I / \sqrt{|\nabla I|^2 + \varepsilon^2}$ the images compared are the matrices
    $n n^\top$, which do not know the sign of an edge:

    $$
    \mathrm{NGF}(F, W) = \frac{1}{|\Omega|} \int_\Omega \lVert n_F n_F^\top - n_W n_W^\top
        \rVert^2 = \frac{1}{|\Omega|} \int_\Omega |n_F|^4 + |n_W|^4
        - 2 \langle n_F, n_W \rangle^2
    $$

    up to the number of matrix entries. The last term is the classical distance; the first two
    keep an edge from vanishing unpunished. Matrices are made once from each image, then warped.

    Args:
        eta: Edges weaker than this fraction of the mean edge count as noise (no unit, > 0).
        pyramid: Whether edges are made on the finest level alone and averaged for coarser
            ones, rather than of the coarse images.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) edge matrices on one grid; returns (B,), 0 is
        best.

    Example:
        >>> NGF().compare(*[NGF().prepare(image)] * 2)
        tensor([0.])

    References:
        Haber, Modersitzki (2007), doi:10.1160/ME9046.
    """

    squared = True
    pointwise = True
    eta: float = 0.5
    pyramid: bool = False

    def prepare(self, image: Image) -> Image:
        """Entries of n nᵀ, D(D+1)/2 channels."""
        return edge_tensor(image, self.eta)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

"""Edge vectors: normalised gradients with their sign, for images of one contrast."""

from dataclasses import dataclass

from coincide.features.channels import of_each
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.space.filled import filled
from coincide.space.image import Image
from coincide.space.shapes import PerPair
from coincide.transforms.jacobian import gradient


@dataclass(frozen=True)
class EdgeVectors(Similarity):
    r"""Mean squared difference of $n = \nabla I / \sqrt{|\nabla I|^2 + \varepsilon^2}$.

    Where `ngf` compares the matrices $n n^\top$, this compares n itself: an edge has a sign.

    Args:
        eta: $\varepsilon$ as a fraction of the mean gradient magnitude (no unit, > 0).

    References:
        Haber, Modersitzki (2007), doi:10.1160/ME9046.
    """

    name = "edge_vectors"  # it is measured here, and no part that can be asked for by name
    squared = True
    pointwise = True
    eta: float = 0.5

    def prepare(self, image: Image) -> Image:
        return of_each(image, self._of_one)

    def _of_one(self, image: Image):
        slope = gradient(filled(image).data, image.grid)[:, 0]
        size, weight = slope.square().sum(1, keepdim=True), image.weight()
        mean = (weight * size.sqrt()).sum() / weight.sum().clamp_min(1)
        return slope / (size + (self.eta * mean).square() + 1e-12).sqrt()

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        return mean_square(fixed.data, warped.data, warped.weight())

"""DNS: match how alike the neighbours of each place are, without a network."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812

from coincide.features.channels import of_each
from coincide.kernels.difference import mean_square
from coincide.kernels.smooth import gaussian
from coincide.kernels.structure import self_similarity
from coincide.objective import Similarity
from coincide.registry import named, positive
from coincide.space.filled import filled
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("dns")
@dataclass(frozen=True)
class DNS(Similarity):
    r"""Deep neighbourhood self-similarity of the intensities themselves.

    What the network of `structural` does with its features, done with the image: the face
    neighbours at two distances are compared with each other, over pairs $k$ that lie next to each
    other.

    $$ d_k = (I_a - I_b)^2, \quad m_k = d_k - \min_l d_l, \quad
       s_k = \exp\!\left(-\frac{m_k}{\bar m + \varepsilon}\right) $$

    Unlike `mind_ssc` it averages no patches; `sigma` smooths the similarities instead.

    Args:
        near: Distance of the first neighbours, voxels.
        far: Distance of the second neighbours, voxels.
        noise: Standard deviation of the noise as a fraction of that of the image; its square
            is ε.
        sigma: Standard deviation of the Gaussian on the similarities, voxels.
        shared: Whether $\bar m$ is the mean over both distances.
        pyramid: Whether similarities are made on the finest level alone and averaged for coarser
            ones.

    Shape:
        Similarities (B, 24 C, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> DNS().compare(*[DNS().prepare(image)] * 2)
        tensor([0.])

    References:
        Mok et al. (2024), arXiv:2402.18933.
    """

    squared = True
    pointwise = True
    near: int = 1
    far: int = 2
    noise: float = 0.03
    sigma: float = 0.8
    shared: bool = False
    pyramid: bool = True

    def __post_init__(self):
        positive(self, "near", "far", "noise")
        positive(self, "sigma", zero=True)

    def prepare(self, image: Image) -> Image:
        """Similarities, 24 for each channel."""
        return of_each(image, self._of)

    def _of(self, image: Image) -> torch.Tensor:
        data = F.layer_norm(filled(image).data, image.data.shape[1:])
        floor = torch.full((1,), self.noise**2, dtype=data.dtype, device=data.device)
        found = self_similarity(data, floor, (self.near, self.far), shared=self.shared)
        return gaussian(found, [self.sigma if n > 1 else 0.0 for n in image.grid.shape])

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())

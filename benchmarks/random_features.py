"""Features of a network that has learned nothing: what an ablation begins with."""

from dataclasses import dataclass
from functools import cache

import torch

from coincide.features.channels import of_each
from coincide.kernels.difference import mean_square
from coincide.kernels.structure import self_similarity
from coincide.networks.intensity import normalised
from coincide.networks.structural import Structural
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("random_features")
@dataclass(frozen=True)
class RandomFeatures(Similarity):
    r"""Features of the encoder and decoder of `structural` with random weights.

    The mean squared difference $|f_F - f_W|^2$, each feature with variance 1; or, with
    `similar`, that of their neighbourhood self-similarity.

    Args:
        similar: Whether self-similarities of the features are compared, not they themselves.
        seed: Which weights.
        pyramid: Whether features are made on the finest level alone.

    References:
        Mok et al. (2024), arXiv:2402.18933, table 3.
    """

    squared = True
    similar: bool = False
    seed: int = 0
    pyramid: bool = True

    def prepare(self, image: Image) -> Image:
        """4 features of every channel, or 96 self-similarities."""
        network = _network(self.seed)

        @torch.no_grad()
        def made(one: Image) -> torch.Tensor:
            found = network.backbone(torch.stack([normalised(each) for each in one.data]))
            if self.similar:
                floor = network.log_floor.exp()
                return self_similarity(found, floor, network.dilations)
            spread = found.std((0, 2, 3, 4), keepdim=True)
            return (found - found.mean((0, 2, 3, 4), keepdim=True)) / spread

        return of_each(image, made)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())


@cache
def _network(seed: int) -> Structural:
    torch.manual_seed(seed)
    return Structural().requires_grad_(False).eval()

"""Structural: a network whose features of an image say what is where, whatever the contrast."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.kernels.structure import SLOPE, pairs, structure
from coincide.networks.encoder_decoder import EncoderDecoder

PAIRS = 12  # of the face neighbours that lie next to each other


class Structural(nn.Module):
    r"""Deep structural image representation: features, their self-similarity, squeezed.

    An encoder and decoder gives $C$ features $h$ of every voxel. Around it the face neighbours at
    each dilation are compared with each other, per feature and dilation, over the pairs
    $k = (a, b)$ that lie next to each other:

    $$ d_k = (h_a - h_b)^2, \quad m_k = d_k - \min_l d_l, \quad
       s_k = \exp\!\left(-\frac{m_k}{\tfrac{1}{12}\sum_l m_l + \varepsilon}\right) $$

    Two linear maps with a rectification between them squeeze the $24 C$ numbers of a voxel, and the
    result has length 1. No feature itself is kept, only how alike its neighbours are, which is what
    makes few training steps enough.

    Args:
        widths: Channels of each resolution of the encoder, fine to coarse.
        features: C.
        dilations: Distances of the neighbours, voxels.
        hidden: Numbers between the two linear maps.
        out: Numbers of a descriptor.
        shared: Whether the mean is that over all features and dilations.

    References:
        Mok et al. (2024), "Modality-Agnostic Structural Image Representation Learning for
        Deformable Multi-Modality Medical Image Registration", arXiv:2402.18933.
    """

    def __init__(
        self,
        widths: Sequence[int] = (8, 16, 32, 64),
        features: int = 4,
        dilations: Sequence[int] = (1, 2),
        hidden: int = 32,
        out: int = 16,
        shared: bool = False,
    ):
        super().__init__()
        self.dilations, self.shared = tuple(dilations), shared
        self.backbone = EncoderDecoder(widths, features)
        similarities = features * len(self.dilations) * PAIRS
        # ε of every feature, learned: below it nothing is structure
        self.log_floor = nn.Parameter(torch.full((features,), float(np.log(1e-3))))
        self.first = nn.Linear(similarities, hidden)
        self.second = nn.Linear(hidden, out)

    @property
    def squeeze(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases of the two linear maps."""
        return self.first.weight, self.first.bias, self.second.weight, self.second.bias

    def forward(self, image: Tensor) -> Tensor:
        """Descriptors of every voxel, (B, out, X, Y, Z), from an image (B, 1, X, Y, Z), 0 to 1."""
        features = self.backbone(image)
        features = features.float() if features.dtype == torch.bfloat16 else features
        floor = self.log_floor.exp()
        return structure(features, floor, self.dilations, self.squeeze, shared=self.shared)

    def at(self, features: Tensor, points: Tensor) -> Tensor:
        """Descriptors at some places only, which is what training needs.

        Args:
            features: What the backbone gave, (B, C, X, Y, Z).
            points: Voxels with fractions, (B, P, 3).

        Returns:
            (B, P, out), of length 1.
        """
        return self.squeezed(self.similarities(features, points))

    def similarities(self, features: Tensor, points: Tensor) -> Tensor:
        """Self-similarity at some places, (B, P, 24 C), in the order of the kernel."""
        offsets, first, second = pairs(self.dilations)
        around = points[:, :, None] + torch.as_tensor(offsets, dtype=points.dtype)
        values = sampled(features, around.flatten(1, 2))
        values = values.unflatten(1, (points.shape[1], len(offsets)))  # (B, P, O, C)
        squares = (values[:, :, first] - values[:, :, second]).square()
        squares = squares.unflatten(2, (len(self.dilations), PAIRS))  # (B, P, dilation, pair, C)
        more = squares - squares.amin(3, keepdim=True)
        spread = more.mean((2, 3, 4) if self.shared else 3, keepdim=True) + self.log_floor.exp()
        return (-more / spread).exp().movedim(-1, 2).flatten(2)

    def squeezed(self, similarities: Tensor) -> Tensor:
        """(…, 24 C) to (…, out)."""
        return F.normalize(self.second(F.leaky_relu(self.first(similarities), SLOPE)), dim=-1)


def sampled(volume: Tensor, points: Tensor) -> Tensor:
    """Linear interpolation at voxels with fractions, borders continued, (B, P, C).

    Args:
        volume: (B, C, X, Y, Z).
        points: (B, P, 3).
    """
    size = torch.tensor(volume.shape[2:], dtype=points.dtype)
    place = (2 * points / (size - 1).clamp_min(1) - 1).flip(-1)  # torch wants z, y, x from -1 to 1
    found = F.grid_sample(
        volume, place[:, :, None, None].to(volume.dtype), padding_mode="border", align_corners=True
    )
    return found[:, :, :, 0, 0].transpose(1, 2)

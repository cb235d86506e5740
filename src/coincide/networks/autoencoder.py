"""Autoencoder: features of one modality, such that its images can be made from them again."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.lattice import SLOPE, rectified


class Encoder(nn.Module):
    """Features on several resolutions, each half as fine as the one before.

    A convolution of step two and one of step one on each resolution; borders are continued, so
    that no zero tells where the border is.

    Args:
        dim: 2 for pictures, 3 for volumes.
        widths: Features on each resolution, fine to coarse.
    """

    def __init__(self, dim: int = 3, widths: Sequence[int] = (16, 32, 64)):
        super().__init__()
        self.dim, self.widths = dim, tuple(widths)
        given = (1, *widths[:-1])
        self.down = nn.ModuleList(
            _convolution(dim, a, b, 2) for a, b in zip(given, widths, strict=True)
        )
        self.same = nn.ModuleList(_convolution(dim, b, b) for b in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Of (B, 1, *S): features after both convolutions of each resolution, in order."""
        taps = []
        for down, same in zip(self.down, self.same, strict=True):
            image = rectified(down(_continued(image)))
            taps.append(image)
            image = rectified(same(_continued(image)))
            taps.append(image)
        return taps


class Autoencoder(nn.Module):
    """An encoder, and a decoder that makes the image again from its coarsest features alone.

    Args:
        dim: 2 for pictures, 3 for volumes.
        widths: Features on each resolution, fine to coarse.

    References:
        Dey et al. (2022), "Contrastive Learning of Inter-domain Similarity for Unsupervised
        Multi-modality Deformable Registration", doi:10.58530/2022/3467.
    """

    def __init__(self, dim: int = 3, widths: Sequence[int] = (16, 32, 64)):
        super().__init__()
        self.encoder = Encoder(dim, widths)
        back = (*reversed(widths), widths[0])
        self.up = nn.ModuleList(_convolution(dim, a, b) for a, b in pairwise(back))
        self.last = _convolution(dim, widths[0], 1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, *S) from about 0 to 1, made again."""
        *_, here = taps = self.encoder(image)
        sizes = [*(tap.shape[2:] for tap in taps[-3::-2]), image.shape[2:]]
        for up, size in zip(self.up, sizes, strict=True):
            here = rectified(up(_continued(F.interpolate(here, size=tuple(size)))))
        return self.last(_continued(here))


def _convolution(dim: int, given: int, made: int, step: int = 1) -> nn.Module:
    layer = {2: nn.Conv2d, 3: nn.Conv3d}[dim](given, made, 3, stride=step)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def _continued(volume: Tensor) -> Tensor:
    return F.pad(volume, (1,) * (2 * (volume.ndim - 2)), mode="replicate")

"""Encoder and decoder: features of an image that see far, on its own voxels."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from coincide.networks.lattice import Convolution, coarser, finer, rectified


class EncoderDecoder(nn.Module):
    """Features on four resolutions, joined again, without any normalisation over the image.

    One convolution on each resolution on the way down and one on the way up, two more on the
    coarsest; what was on a resolution on the way down is added on the way up. Neither statistics of
    the image nor zeros at its border enter, so a crop has the features of the whole except near
    where it was cut. Any size will do.

    Args:
        widths: Channels of each resolution, fine to coarse.
        features: Channels of the result.
    """

    def __init__(self, widths: Sequence[int] = (8, 16, 32, 64), features: int = 4):
        super().__init__()
        given = (1, *widths[:-1])
        self.down = nn.ModuleList(Convolution(a, b) for a, b in zip(given, widths, strict=True))
        self.bottom = nn.ModuleList(Convolution(widths[-1], widths[-1]) for _ in range(2))
        self.fewer = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Convolution(width, width) for width in widths[:-1])
        self.last = Convolution(widths[0], features)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z), about 0 to 1, to (B, features, X, Y, Z)."""
        kept = []
        here = image
        for number, layer in enumerate(self.down):
            here = rectified(layer(here if number == 0 else coarser(here)))
            kept.append(here)
        for layer in self.bottom:
            here = rectified(layer(here))
        for fewer, up, beside in zip(
            reversed(self.fewer), reversed(self.up), reversed(kept[:-1]), strict=True
        ):
            # few channels first: they are what is interpolated
            here = beside + finer(fewer(here), tuple(beside.shape[2:]))
            here = rectified(up(here))
        return self.last(here)

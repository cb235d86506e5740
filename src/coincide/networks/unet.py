"""U-Net: a network that sees both images at once, far and near."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from coincide.networks.halves import convolution, doubled, even, halving, head, packed, rectified


class UNet(nn.Module):
    """Encoder and decoder over two images, from and to half their resolution.

    Args:
        dim: 2 or 3 axes.
        widths: Channels of each resolution, fine to coarse.
        made: Channels of the result.
        truncated: Resolutions, from the finest, that the decoder does not come back to.
    """

    def __init__(
        self, dim: int, widths: Sequence[int] = (16, 32, 32, 32), *, made: int, truncated: int = 0
    ):
        super().__init__()
        self.truncated = truncated
        self.first = convolution(dim, 2 * 2**dim, widths[0])
        self.down = nn.ModuleList(halving(dim, a, b) for a, b in pairwise(widths))
        self.bottom = convolution(dim, widths[-1], widths[-1])
        kept = widths[truncated:]
        self.up = nn.ModuleList(convolution(dim, a + b, a) for a, b in pairwise(kept))
        self.second = convolution(dim, kept[0], kept[0])
        self.head = head(dim, kept[0], made)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        """(B, 1, *S) each, about 0 to 1, to (B, made, *S / 2 ** (1 + truncated)), rounded up."""
        here = rectified(self.first(packed(torch.cat([fixed, moving], 1))))
        beside = [here]
        for down in self.down:
            here = rectified(down(even(here)))
            beside.append(here)
        here = rectified(self.bottom(here))
        for level in reversed(range(len(self.up))):
            skip = beside[self.truncated + level]
            here = torch.cat([skip, doubled(here, tuple(skip.shape[2:]))], 1)
            here = rectified(self.up[level](here))
        return self.head(rectified(self.second(here)))

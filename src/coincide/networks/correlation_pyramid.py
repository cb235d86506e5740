"""Correlation pyramid: a network that finds a velocity by comparing features, coarse to fine."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from coincide.networks.condition import Condition, modulated
from coincide.networks.flow import carried, correlations, flowed
from coincide.networks.halves import convolution, doubled, even, halving, head, rectified


class CorrelationPyramid(nn.Module):
    r"""One encoder for both images; on every resolution a correction of the velocity.

    Features of both images, $f_k$ and $m_k$, are made by the same layers on resolutions
    $k = 1, 2, …$, each half of the one before, the first half of the images'. From coarse to fine,

    $$ c_k(x, d) = \cos\angle\bigl(f_k(x),\; (m_k \circ \exp v_k)(x + d)\bigr), \quad
       v_k \leftarrow v_k + g_k\bigl(f_k, m_k \circ \exp v_k, c_k, v_k\bigr) $$

    for all neighbours $d$, and $v_{k-1}$ begins as $v_k$ on the finer voxels. That places are
    compared on every resolution is what lets it learn from images alone within minutes.

    Args:
        dim: 2 or 3 axes.
        widths: Channels of the features on each resolution, fine to coarse.
        hidden: Channels of the layers that correct the velocity, fine to coarse.
        conditional: Whether it is told a weight.
    """

    def __init__(
        self,
        dim: int,
        widths: Sequence[int] = (8, 16, 32, 32),
        hidden: Sequence[int] = (16, 32, 32, 32),
        *,
        conditional: bool = False,
    ):
        super().__init__()
        self.down = nn.ModuleList(halving(dim, a, b) for a, b in pairwise((1, *widths)))
        self.more = nn.ModuleList(convolution(dim, width, width) for width in widths)
        given = [2 * width + 3**dim + dim for width in widths]
        self.first = nn.ModuleList(
            convolution(dim, a, b) for a, b in zip(given, hidden, strict=True)
        )
        self.second = nn.ModuleList(convolution(dim, width, width) for width in hidden)
        self.heads = nn.ModuleList(head(dim, width, dim) for width in hidden)
        self.condition = Condition(tuple(hidden)) if conditional else None

    def forward(self, fixed: Tensor, moving: Tensor, weight: float | None = None) -> Tensor:
        """Velocity in voxels of half the resolution, (B, D, *ceil(S / 2)).

        Args:
            fixed: (B, 1, *S), about 0 to 1.
            moving: The same.
            weight: What a conditional network is told.
        """
        count = len(fixed)
        here, features = torch.cat([fixed, moving]), []
        for down, more in zip(self.down, self.more, strict=True):
            here = rectified(down(even(here)))
            here = here + rectified(more(here))
            features.append(here)
        told: list[tuple[Tensor, Tensor] | None] = [None] * len(features)
        if self.condition is not None:
            assert weight is not None
            told = [*self.condition(weight)]
        velocity = None
        for level in reversed(range(len(features))):
            one, other = features[level].split(count)
            sizes = tuple(one.shape[2:])
            if velocity is None:
                velocity = one.new_zeros(count, len(sizes), *sizes, dtype=torch.float32)
            else:
                velocity = 2 * doubled(velocity, sizes)
                other = carried(other, flowed(velocity)).to(other.dtype)
            parts = one, other, correlations(one, other), velocity.to(one.dtype)
            found = self.first[level](torch.cat(parts, 1))
            found = rectified(modulated(found, told[level]))
            found = rectified(self.second[level](found))
            velocity = velocity + self.heads[level](found).float()
        assert velocity is not None
        return velocity

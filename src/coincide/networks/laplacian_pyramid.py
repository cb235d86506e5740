"""Laplacian pyramid: three networks, coarse to fine, each correcting what the last one gave."""

import torch
from torch import Tensor, nn

from coincide.networks.condition import Condition, modulated
from coincide.networks.flow import carried, flowed
from coincide.networks.halves import (
    convolution,
    doubled,
    even,
    halved,
    halving,
    head,
    rectified,
)

LEVELS = 3


class LaplacianPyramid(nn.Module):
    """Fixed image, warped moving image and velocity so far; out comes a correction of the velocity.

    The finest of the three works on half the resolution of the images. Features of a coarser one
    are added on the way through the next.

    Args:
        dim: 2 or 3 axes.
        width: Channels of every layer.
        blocks: Residual blocks of each network.
        conditional: Whether the blocks are told a weight.
    """

    def __init__(self, dim: int, width: int = 16, blocks: int = 3, *, conditional: bool = False):
        super().__init__()
        self.levels = nn.ModuleList(_Level(dim, width, blocks) for _ in range(LEVELS))
        channels = (width,) * (LEVELS * blocks)
        self.condition = Condition(channels) if conditional else None

    def forward(self, fixed: Tensor, moving: Tensor, weight: float | None = None) -> Tensor:
        """Velocity in voxels of half the resolution, (B, D, *ceil(S / 2))."""
        images = [torch.cat([halved(fixed), halved(moving)])]
        for _ in range(LEVELS - 1):
            images.append(halved(images[-1]))
        told: list[tuple[Tensor, Tensor] | None] = [None] * (LEVELS * len(self.levels[0].blocks))  # type: ignore[arg-type]
        if self.condition is not None:
            assert weight is not None
            told = [*self.condition(weight)]
        velocity, below = None, None
        for number, (level, both) in enumerate(zip(self.levels, reversed(images), strict=True)):
            one, other = both.chunk(2)
            sizes = tuple(one.shape[2:])
            if velocity is None:
                velocity = one.new_zeros(len(one), len(sizes), *sizes, dtype=torch.float32)
            else:
                velocity = 2 * doubled(velocity, sizes)
                other = carried(other, flowed(velocity))
            seen = torch.cat([one, other.to(one.dtype), velocity.to(one.dtype)], 1)
            share = len(told) // LEVELS
            more, below = level(seen, below, told[number * share : (number + 1) * share])
            velocity = velocity + more.float()
        assert velocity is not None
        return velocity


class _Level(nn.Module):
    """The network of one resolution."""

    def __init__(self, dim: int, width: int, blocks: int):
        super().__init__()
        self.first = convolution(dim, 2 + dim, width)
        self.second = convolution(dim, width, width)
        self.down = halving(dim, width, width)
        self.blocks = nn.ModuleList(
            nn.ModuleList(convolution(dim, width, width) for _ in range(2)) for _ in range(blocks)
        )
        self.joined = convolution(dim, width, width)
        self.head = head(dim, width, dim)

    def forward(
        self, seen: Tensor, below: Tensor | None, told: list[tuple[Tensor, Tensor] | None]
    ) -> tuple[Tensor, Tensor]:
        """Correction of the velocity, and features for the next resolution."""
        fine = rectified(self.second(rectified(self.first(seen))))
        here = self.down(even(fine))
        here = here if below is None else here + below
        for block, one in zip(self.blocks, told, strict=True):
            first, second = block  # type: ignore[misc]
            inner = first(rectified(modulated(here, one)))
            here = here + second(rectified(inner))
        fine = fine + doubled(here, tuple(fine.shape[2:]))
        fine = rectified(self.joined(fine))
        return self.head(fine), fine

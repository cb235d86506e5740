"""Noise: random numbers and smooth random fields from one generator, quickly."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SPREAD = 2654435769  # odd, and its multiples keep apart modulo 2**32


def numbered(seed: int, number: int) -> torch.Generator:
    """The random numbers of one step of a training, whatever came before.

    Args:
        seed: Of the training.
        number: Of the step, below ten millions or so.
    """
    # torch looks at the lower 32 bits of a seed only
    return torch.Generator().manual_seed((seed * SPREAD + number) % 2**32)


def noise(shape: tuple[int, int, int, int], cells: int, random: torch.Generator) -> Tensor:
    """Normal random numbers on `cells` points along each axis, between them linear, (C, X, Y, Z).

    An axis of one voxel has one point.
    """
    points = [min(cells, n) for n in shape[1:]]
    coarse = torch.randn(1, shape[0], *points, generator=random)
    return F.interpolate(coarse, shape[1:], mode="trilinear", align_corners=True)[0]


def uniform(random: torch.Generator, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    return low + (high - low) * float(torch.rand((), generator=random))


def whole(random: torch.Generator, low: int, high: int) -> int:
    """A whole number from `low` up to, not including, `high`."""
    return int(torch.randint(low, high, (), generator=random))

"""Condition: one number that a whole network is told, such as how smooth a field shall be."""

import torch
from torch import Tensor, nn

from coincide.networks.halves import SLOPE


class Condition(nn.Module):
    """Scales and shifts of the channels of every layer, from one number; see `modulated`.

    It begins by changing nothing.

    Args:
        channels: Of each layer that is told.
        hidden: Numbers between.

    References:
        Perez et al. (2018), "FiLM", arXiv:1709.07871; Mok, Chung (2021), "Conditional Deformable
        Image Registration with Convolutional Neural Network", arXiv:2106.12673.
    """

    def __init__(self, channels: tuple[int, ...], hidden: int = 32):
        super().__init__()
        self.channels = channels
        self.first, self.second = nn.Linear(1, hidden), nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, 2 * sum(channels))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, weight: float) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift of every layer, (channels,) each."""
        told = self.first.weight.new_full((1, 1), weight)
        for layer in (self.first, self.second):
            told = torch.nn.functional.leaky_relu(layer(told), SLOPE)
        parts = self.last(told)[0].split([n for c in self.channels for n in (c, c)])
        return list(zip(parts[::2], parts[1::2], strict=True))


def modulated(volume: Tensor, told: tuple[Tensor, Tensor] | None) -> Tensor:
    """Channels times 1 + scale, plus shift; unchanged where nothing is told."""
    if told is None:
        return volume
    scale, shift = (part.view(1, -1, *(1,) * (volume.ndim - 2)) for part in told)
    return volume * (1 + scale) + shift

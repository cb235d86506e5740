"""Hypernetwork: a network whose weights are made by another, from one number."""

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

from coincide.networks.halves import SLOPE


class Hypernetwork(nn.Module):
    r"""A network with weights $w_0 + W h(\lambda)$, for a small network $h$.

    Args:
        network: Whose own weights are $w_0$.
        hidden: Numbers between the layers of $h$.
        rank: Numbers that $h$ gives.

    References:
        Hoopes et al. (2021), "HyperMorph", arXiv:2101.01035.
    """

    def __init__(self, network: nn.Module, hidden: int = 32, rank: int = 4):
        super().__init__()
        self.network = network
        self.first, self.second = nn.Linear(1, hidden), nn.Linear(hidden, rank)
        total = sum(parameter.numel() for parameter in network.parameters())
        self.emitted = nn.Parameter(torch.zeros(rank, total))

    def forward(self, weight: float, *given: Tensor) -> Tensor:
        """What the network answers, told λ."""
        told = self.first.weight.new_full((1,), weight)
        told = self.second(F.leaky_relu(self.first(told), SLOPE))
        own = dict(self.network.named_parameters())
        parts = (told @ self.emitted).split([parameter.numel() for parameter in own.values()])
        made = {
            name: parameter + part.view_as(parameter)
            for (name, parameter), part in zip(own.items(), parts, strict=True)
        }
        return functional_call(self.network, made, given)

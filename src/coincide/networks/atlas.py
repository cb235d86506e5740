"""Atlas: one network that knows what is where in anyone of any age."""

import torch
from torch import Tensor, nn

from coincide.networks.coordinates import CoordinateNetwork

SPREAD = 0.3  # of the coordinates of persons and age beside those of places, which reach 1


class ImplicitAtlas(nn.Module):
    r"""A conditional atlas: intensity and tissue as a function of place, person and age.

    $$ (I, \ell_1 \ldots \ell_K) = f_\theta(x, z, t) $$

    f is a sine network, z a few numbers that describe a person and are found together with
    $\theta$ (no encoder is trained), t the age. With z = 0 it shows the average of an age; no
    image is registered to another.

    Args:
        dim: Axes of the images.
        tissues: Number of tissues K, outside included.
        latent: Numbers that describe a person.
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the detail may be.
        seed: Of the first weights.

    References:
        Dannecker et al. (2024), arXiv:2403.08550.
    """

    def __init__(
        self,
        dim: int,
        tissues: int,
        *,
        latent: int = 8,
        width: int = 128,
        depth: int = 3,
        omega: float = 15.0,
        seed: int = 0,
    ):
        super().__init__()
        self.dim, self.tissues, self.latent = dim, tissues, latent
        self.network = CoordinateNetwork(
            dim + latent + 1,
            1 + tissues,
            width=width,
            depth=depth,
            omega=omega,
            seed=seed,
            small=1.0,
        )

    def forward(self, places: Tensor, person: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """What is at some places.

        Args:
            places: (P, D), from -1 to 1 along the longest axis.
            person: (P or 1, latent).
            age: (P or 1, 1), from 0 to 1.

        Returns:
            Intensities (P,) and scores of the tissues before softmax, (P, K).
        """
        count = len(places)
        others = torch.cat([person, 2 * age - 1], 1).expand(count, -1)
        found = self.network(torch.cat([places, SPREAD * others], 1))
        return found[:, 0], found[:, 1:]

"""Shapes: random label maps of nothing in particular, to learn from without patients."""

import torch
from torch import Tensor

from coincide.synthetic.noise import noise, uniform, whole

BODY = 0.3  # how often everything lies in one body


def shapes(size: int, random: torch.Generator) -> Tensor:
    """A random label map, (X, Y, Z) int64, of structures of all sizes.

    Half of the maps are what prevails among smooth random fields of two scales, as in tissue that
    fills space; half are bent ellipsoids, the later ones over the earlier, as in organs. Some lie
    in a body with nothing outside.

    Args:
        size: Voxels along each axis.
        random: Which map.

    References:
        Hoffmann et al. (2022), "SynthMorph", doi:10.1109/TMI.2021.3116879.
    """
    made = _tissue if uniform(random, 0, 1) < 0.5 else _organs
    labels = made(size, random)
    if uniform(random, 0, 1) < BODY:
        radius = _distance(size, random, uniform(random, 0.7, 1.1))
        labels = torch.where(radius < 1, labels + 1, 0)
    return labels


def _tissue(size: int, random: torch.Generator) -> Tensor:
    """What prevails among 8 to 24 fields, each rough and smooth at once."""
    count = whole(random, 8, 25)
    cells = [whole(random, 3, 6), whole(random, 6, 14)]
    share = uniform(random, 0.3, 0.7)
    fields = (1 - share) * noise((count, size, size, size), cells[0], random)
    fields += share * noise((count, size, size, size), cells[1], random)
    return fields.argmax(0)


def _organs(size: int, random: torch.Generator) -> Tensor:
    """Twelve to forty bent ellipsoids."""
    place = _bent(size, random)
    labels = torch.zeros(size, size, size, dtype=torch.int64)
    for number in range(1, whole(random, 13, 41)):
        centre = 1.8 * torch.rand(3, generator=random) - 0.9
        radii = 0.08 + 0.42 * torch.rand(3, generator=random) ** 1.5
        turn = torch.linalg.qr(torch.randn(3, 3, generator=random))[0]
        away = torch.einsum("ij,jxyz->ixyz", turn / radii[:, None], place - centre.view(3, 1, 1, 1))
        labels = torch.where(away.square().sum(0) < 1, number, labels)
    return labels


def _distance(size: int, random: torch.Generator, radius: float) -> Tensor:
    """1 on the surface of a bent ellipsoid about the middle."""
    radii = radius * (0.8 + 0.4 * torch.rand(3, generator=random))
    return (_bent(size, random) / radii.view(3, 1, 1, 1)).norm(dim=0)


def _bent(size: int, random: torch.Generator) -> Tensor:
    """Coordinates from -1 to 1 along each axis, a little bent, (3, X, Y, Z)."""
    axis = torch.linspace(-1, 1, size)
    place = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    return place + 0.12 * noise((3, size, size, size), 5, random)

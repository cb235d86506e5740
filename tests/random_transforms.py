"""Every kind of transform with random parameters, and points to try it at."""

import copy

import numpy as np
import torch

from coincide.networks.coordinates import CoordinateNetwork as Coordinates
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform
from coordinate_network import NAME, CoordinateNetwork, shaken
from worlds import noise

SHAPES = {2: (25, 27), 3: (17, 18, 16)}
MARGIN = 4  # voxels between what is asked and the border of what is known
NAMES = [*parts(Transform), NAME]
# whose parameters are not a vector each
NETWORKS = (NAME, "siren", "siren_conditional", "siren_velocity", "cycle", "dual", "sinr", "tube")


def plain(name: str) -> Transform:
    """The transform of that name as it is made from text."""
    return CoordinateNetwork() if name == NAME else build(name)


def randomised(name: str, grid: Grid, *, seed=0, size=1.0) -> Transform:
    """A frozen transform of that name with random parameters, mm, smooth where there are many."""
    transform = plain(name).on(grid)
    if isinstance(transform, CoordinateNetwork):
        return shaken(transform, seed=seed, size=2 * size).requires_grad_(False)
    if name in NETWORKS:
        # a fine network on a small grid would fold
        size = min(size, float(transform.grid.extent.max()) / 60)
        return woken(transform, seed=seed, size=size).requires_grad_(False)
    random = np.random.default_rng(seed)
    for number, parameter in enumerate(transform.parameters()):
        if parameter.ndim > 2:
            sigma = 4.0 if parameter.shape[2:] == grid.shape else 0.8
            draw = seed + 50 * number
            smooth = noise(parameter.shape[2:], seed=draw, sigma=sigma, channels=grid.dim)
            parameter.data = size * smooth
        else:
            values = size * random.choice([-3, -2, 2, 3], parameter.shape).astype(float)
            parameter.data = torch.tensor(values)
    return transform.requires_grad_(False)


def woken(transform, *, seed=0, size=1.0):
    """Random weights of the last layers of networks, so that points move by about `size` mm."""
    generator = torch.Generator().manual_seed(seed)
    for network in (m for m in transform.modules() if isinstance(m, Coordinates)):
        half = float(transform.grid.extent.max()) / 2
        for held in (network.last.weight, network.last.bias):
            drawn = torch.randn(held.shape, generator=generator)
            count = held.shape[1] / 2 if held.ndim == 2 else 2
            held.data = (size / half * drawn / count**0.5).to(held.dtype)
    return transform


def pair_of(name: str, grid: Grid, *, size=1.0) -> tuple[Transform, tuple[Transform, Transform]]:
    """A batch of two random transforms, and the two; a network is the same for both."""
    first, second = (randomised(name, grid, seed=seed, size=size) for seed in (1, 2))
    if name in NETWORKS:
        return first, (first, first)
    both = copy.deepcopy(first)
    for mine, other in zip(both.parameters(), second.parameters(), strict=True):
        mine.data = torch.cat([mine.data, other.data])
    if isinstance(both, Linear):
        both.base = torch.cat([first.base, second.base])
    return both, (first, second)


def interior(grid: Grid, count=200, seed=0, margin=MARGIN) -> torch.Tensor:
    """Random world points, not on voxels, away from the border, (1, P, D)."""
    random = np.random.default_rng(seed)
    index = random.uniform(margin, np.array(grid.shape) - 1 - margin, (count, grid.dim))
    return torch.tensor(grid.to_world(index))[None]


def inner(grid: Grid) -> tuple[slice, ...]:
    """All but the margin of a field on the grid."""
    return (slice(None), slice(None), *(slice(MARGIN, -MARGIN),) * grid.dim)

"""Hash grid: features of a place, interpolated in tables of several resolutions."""

from itertools import product

import torch
from torch import Tensor, nn

LEVELS, FEATURES = 8, 2
COARSEST, GROWTH = 4.0, 1.5  # cells along an axis of the first level, and from level to level
ENTRIES = 2**14  # of a table; finer lattices share them
PRIMES = (1, 2654435761, 805459861, 3674653429)  # one an axis, to spread neighbours over a table


class HashGrid(nn.Module):
    """Learned features at the nodes of eight lattices between -1 and 1, linear between nodes.

    Outside of that box the value at its border goes on. First derivatives are those of the linear
    interpolation and jump from cell to cell; there are no second ones.

    Args:
        given: Number of coordinates (1 to 4).
        generator: Draws the first values, which are next to 0.

    References:
        Müller et al. (2022), doi:10.1145/3528223.3530127.
    """

    def __init__(self, given: int, generator: torch.Generator):
        super().__init__()
        drawn = torch.rand(LEVELS, ENTRIES, FEATURES, generator=generator)
        self.tables = nn.Parameter(1e-2 * (2 * drawn - 1))
        self.given, self.made = given, LEVELS * FEATURES

    def forward(self, x: Tensor) -> Tensor:
        """Features, (P, 16), of places (P, given)."""
        return self.jets(x, 0)[0]

    def jets(self, x: Tensor, order: int) -> list[Tensor]:
        """Features (P, 16), and for order 1 their derivatives by each coordinate, the same."""
        levels = [self._level(x, level, order) for level in range(LEVELS)]
        return [torch.cat(parts, -1) for parts in zip(*levels, strict=True)]

    def _level(self, x: Tensor, level: int, order: int) -> list[Tensor]:
        cells = int(COARSEST * GROWTH**level)
        inside = ((x >= -1) & (x <= 1)).to(x.dtype)
        place = (x.clamp(-1, 1) + 1) / 2 * cells
        low = place.detach().floor().clamp(0, cells - 1)
        t = place - low
        low = low.long()
        table = self.tables[level].to(x.dtype)
        made = [table.new_zeros(len(x), FEATURES) for _ in range(1 + order * self.given)]
        slope = inside * (cells / 2)
        for corner in product((0, 1), repeat=self.given):
            values = table[self._address(low + torch.tensor(corner, device=x.device), cells)]
            weights = [t[:, d] if up else 1 - t[:, d] for d, up in enumerate(corner)]
            made[0] = made[0] + torch.stack(weights).prod(0)[:, None] * values
            for axis in range(order * self.given):
                others = [w for d, w in enumerate(weights) if d != axis]
                sign = 2 * corner[axis] - 1
                steep = (
                    sign * slope[:, axis] * torch.stack([torch.ones_like(t[:, 0]), *others]).prod(0)
                )
                made[1 + axis] = made[1 + axis] + steep[:, None] * values
        return made

    def _address(self, node: Tensor, cells: int) -> Tensor:
        """Entries of nodes (P, given): one each where a table is large enough, else shared."""
        if (cells + 1) ** self.given <= ENTRIES:
            address = torch.zeros_like(node[:, 0])
            for axis in range(self.given):
                address = address * (cells + 1) + node[:, axis]
            return address
        address = node[:, 0] * PRIMES[0]
        for axis in range(1, self.given):
            address = address ^ (node[:, axis] * PRIMES[axis])
        return address % ENTRIES

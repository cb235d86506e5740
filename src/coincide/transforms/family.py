"""Family: the maps of many pairs of images, both ways, in the weights of two networks."""

import torch
from torch import Tensor, nn

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import positive
from coincide.space.grid import Grid
from coincide.transforms.cycle import Cycle
from coincide.transforms.told import Told

REACH = 3.0  # of a code of length 1 beside places, which reach 1: a code learns faster than weights


class Family(nn.Module):
    r"""Many pairs in two networks, one each way, and in a code of few numbers for each pair.

    $$ F(x) = x + A\, f_\theta(A^{-1}(x - c), z) \qquad
    B(y) = y + A\, g_\vartheta(A^{-1}(y - c), z) $$

    What pairs have in common, such as how lungs breathe, is in the weights; what makes one pair is
    a code z of a few numbers, found together with the weights (no encoder is trained). F leads
    from the fixed to the moving world and B back. An unseen pair is found by its code alone, and
    for every code there is a `cycle`, a transform like any other.

    Args:
        grid: Whose axes are the coordinates; all pairs lie in its world, aligned before.
        count: Pairs that it is fitted to (>= 1).
        latent: Numbers that make a pair; 0: none, and all pairs have one map.
        width: Of the hidden layers of each network.
        depth: Number of hidden layers.
        omega: How fine the displacement may be (> 0).
        seed: Of the first weights of F; those of B are of the next seed.

    Example:
        >>> family = Family(image.grid, 3)
        >>> bool((family.member(2)(points) - points).abs().max() < 1e-6)
        True

    References:
        Tian et al. (2024), NePhi, arXiv:2309.07322, who predict codes by an encoder. Park et al.
        (2019), DeepSDF, arXiv:1901.05103, for codes that are found.
    """

    name = "family"  # in errors and files

    def __init__(
        self,
        grid: Grid,
        count: int,
        *,
        latent: int = 8,
        width: int = 96,
        depth: int = 2,
        omega: float = 10.0,
        seed: int = 0,
    ):
        super().__init__()
        self.grid, self.count, self.latent = grid, count, latent
        self.width, self.depth, self.omega, self.seed = width, depth, omega, seed
        positive(self, "count", "width", "depth", "omega")
        positive(self, "latent", zero=True)
        self.ahead, self.back = (
            CoordinateNetwork(
                grid.dim + latent, grid.dim, width=width, depth=depth, omega=omega, seed=s, small=0
            )
            for s in (seed, seed + 1)
        )
        self.codes = nn.Parameter(torch.zeros(count, latent))

    def both(self, code: Tensor) -> tuple[Told, Told]:
        """F and B of a code (latent,), on the shared networks, with gradient."""
        told = REACH * code
        return Told(self.ahead, self.grid, told), Told(self.back, self.grid, told)

    def at(self, code: Tensor) -> Cycle:
        """The transform of a code (latent,), with weights of its own.

        Raises:
            ValueError: if it has another length.
        """
        if code.shape != (self.latent,):
            raise ValueError(
                f"a code of this family has {self.latent} numbers, not {tuple(code.shape)}"
            )
        made = Cycle(self.width, self.depth, self.omega, seed=self.seed, grid=self.grid)
        made.ahead, made.back = (told.plain() for told in self.both(code))
        return made

    def member(self, number: int) -> Cycle:
        """The transform of one of the pairs that it was fitted to, counted from 0."""
        return self.at(self.codes[number])

"""Transform: the interface of every map from fixed-world to moving-world points."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from coincide.registry import Chainable
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points


class Transform(nn.Module, Chainable, ABC):
    """A map of fixed-world points (RAS+ mm) to moving-world points: backward warping.

    Two questions are answered: where given points go (`forward`), and how far the voxels of a
    grid move (`displacement`). The second is the fast way and builds no array of points.

    Parameters live on a domain: `transform.on(grid)` returns the transform expressed on that
    grid; a part made from text, such as `velocity(spacing=4)`, is the identity until then.

    `optimiser` names what moves it well where nobody says.
    """

    name: ClassVar[str]
    optimiser: ClassVar[str] = "adam(rate=0.2)"

    @abstractmethod
    def forward(self, points: Points) -> Points:
        """Moving-world positions, mm, of fixed-world points (B, P, D), mm."""

    @abstractmethod
    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement transform(x + inner(x)) - x, mm, at the voxels x of `grid`, (B, D, *S).

        Args:
            grid: Where the answer is wanted.
            inner: Displacement already applied, (B, D, *S) on `grid`, mm; None: zero.
        """

    @abstractmethod
    def inverse(self) -> "Transform":
        """The map back, from moving-world to fixed-world points."""

    @abstractmethod
    def on(self, grid: Grid) -> "Transform":
        """The same map with its parameters laid out for `grid`: allocated first, refined later."""

    def __matmul__(self, inner: "Transform") -> "Transform":
        """The map that applies `inner` first: (outer @ inner)(x) = outer(inner(x))."""
        from coincide.transforms.composite import Composite

        return Composite((self, inner))

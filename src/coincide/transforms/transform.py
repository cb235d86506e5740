"""Transform: the interface of every map from fixed-world to moving-world points."""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from coincide.registry import Chainable
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.parameter import released


class Transform(nn.Module, Chainable, ABC):
    """A map of fixed-world points (RAS+ mm) to moving-world points: backward warping.

    Two questions are answered: where given points go (`forward`), and how far the voxels of a
    grid move (`displacement`). The second is the fast way and builds no array of points.

    Parameters live on a domain: `transform.on(grid)` returns the transform expressed on that
    grid; a part made from text, such as `velocity(spacing=4)`, is the identity until then.

    A transform made of what a network computed is trained through: its `on` and `inverse` keep
    the graph. `on` lays plain parameters out anew, frozen where they were; `inverse` of what can
    be optimised is computed from it, so that a gradient reaches the transform it came from.
    Under `torch.no_grad()`, and after `requires_grad_(False)`, no graph is kept.

    `optimiser` names what moves it well where nobody says.
    """

    name: ClassVar[str]
    optimiser: ClassVar[str] = "adam(rate=0.2)"

    @abstractmethod
    def forward(self, points: Points) -> Points:
        """Moving-world positions, mm, of fixed-world points (B, P, D), mm."""

    def __call__(self, points: Any) -> Any:
        """Move points: a tensor (B, P, D), or a NumPy array (P, D) or (D,), which gives an array.

        Raises:
            ValueError: if an array has another shape.
        """
        if not isinstance(points, np.ndarray):
            return super().__call__(points)
        if points.ndim not in (1, 2):
            raise ValueError(f"points are an array (P, D) or (D,), mm, not one of {points.shape}")
        given = torch.as_tensor(np.array(points, np.float64, ndmin=2))[None]
        with torch.no_grad():
            moved = super().__call__(given)[0].double().cpu().numpy()
        return moved.reshape(points.shape)

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

    def jacobian(self, points: Points) -> Tensor:
        """First derivatives at points (B, P, D), mm: (B, P, D, D), row i, column j is ∂T_i/∂x_j.

        See `coincide.transforms.derivatives.jacobian_at`.
        """
        # here, since that module is built on this one
        from coincide.transforms.derivatives import jacobian_at

        return jacobian_at(self, points)

    def hessian(self, points: Points) -> Tensor:
        """Second derivatives ∂²T_i/∂x_j∂x_k at points (B, P, D), 1/mm, (B, P, D, D, D).

        See `coincide.transforms.derivatives.hessian_at`.

        Raises:
            ValueError: if the map has none, as one that is linear between voxels.
        """
        from coincide.transforms.derivatives import hessian_at

        return hessian_at(self, points)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Free or freeze the parameters; a frozen transform lets go of the graph it was made by."""
        if not requires_grad:
            released(self)
        return super().requires_grad_(requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # torch copies no tensor that has a graph; a clone has values of its own and the same graph
        for held in self.buffers():
            if held.grad_fn is not None:
                memo[id(held)] = held.clone()
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__setstate__(copy.deepcopy(self.__dict__, memo))
        return made

    def __matmul__(self, inner: "Transform") -> "Transform":
        """The map that applies `inner` first: (outer @ inner)(x) = outer(inner(x))."""
        from coincide.transforms.composite import Composite

        return Composite((self, inner))

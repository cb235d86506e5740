"""Design: what the displacement of a transform is linear in."""

from abc import ABC, abstractmethod
from functools import singledispatch

from torch import Tensor

from coincide.transforms.transform import Transform


class Design(ABC):
    r"""A displacement that is linear in its weights: $u_d(x) = \sum_k A_k(x)\, w_{kd}$.

    The same K functions $A_k$ serve every axis of the world. A cubic B-spline is linear in its
    control points, a coordinate network in its last layer while the layers before it are frozen.
    """

    @property
    @abstractmethod
    def weights(self) -> Tensor:
        """The weights as they are now, (K, D), mm for functions without a unit."""

    @abstractmethod
    def put(self, weights: Tensor) -> None:
        """Give the transform other weights, (K, D)."""

    @abstractmethod
    def matrix(self, points: Tensor) -> Tensor:
        """The functions at points (P, D), mm: (P, K), dense or sparse (COO)."""

    @abstractmethod
    def bent(self, weights: Tensor, points: Tensor) -> Tensor:
        r"""B w, where $\sum_d w_d^\top B\, w_d$ is the mean squared second derivative, 1/mm².

        Args:
            weights: (K, N), any number of columns.
            points: (P, D) where it is taken if it has no closed form.
        """

    @abstractmethod
    def stiffness(self, points: Tensor) -> Tensor:
        """Diagonal of B, (K,)."""


@singledispatch
def design(transform: Transform) -> Design:
    """What a transform is linear in.

    A transform that is registers its own form, in its own file, with `@design.register`.

    Raises:
        ValueError: if it has none.
    """
    raise ValueError(
        f"the displacement of a {type(transform).__name__} is not known to be linear in its "
        "parameters"
    )

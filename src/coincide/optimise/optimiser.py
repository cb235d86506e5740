"""Optimiser: the interface of everything that moves a transform downhill."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Objective
from coincide.space.image import Image
from coincide.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class Problem:
    """What an optimiser is given on one level.

    Args:
        fixed: Fixed image of the level.
        moving: Moving image of the level.
        transform: The start; its parameters may be changed in place.
        objective: What to minimise.
    """

    fixed: Image
    moving: Image
    transform: Transform
    objective: Objective

    def __post_init__(self):
        object.__setattr__(self, "_start", Alignment(self.fixed, self.moving, self.transform))

    def alignment(self) -> Alignment:
        """The two images under the transform as it is now; feature images are shared."""
        start: Alignment = self._start  # type: ignore[attr-defined]
        return Alignment(self.fixed, self.moving, self.transform, start.prepared)

    def cost(self) -> tuple[Tensor, dict[str, float]]:
        """Value of the objective, with gradient, and of its terms."""
        return self.objective(self.alignment())


class Run(ABC):
    """An optimiser at work on one level: it owns the state.

    `exhausted` says that no further step would lower the cost; `remark` is for the person who
    reads how the level ended.
    """

    exhausted: bool = False
    remark: str = ""

    @abstractmethod
    def step(self) -> tuple[float, dict[str, float]]:
        """Make one update; return the cost before it, and the value of every term."""

    @abstractmethod
    def finish(self) -> Transform:
        """The transform after the last step."""


class Optimiser(ABC):
    """A rule for making steps; a frozen dataclass of numbers."""

    name: str

    @abstractmethod
    def start(self, problem: Problem) -> Run:
        """Begin on a level.

        Raises:
            ValueError: if this optimiser cannot move that transform, saying which it can.
        """

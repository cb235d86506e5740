"""Search: the interface of every answer that is picked from candidates, not approached by steps."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from coincide.registration import Step
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement


@dataclass(frozen=True, eq=False)
class Found:
    """What a search returns.

    Args:
        transform: Fixed-world to moving-world points, on the grid of the fixed image.
        confidence: How clear the choice was at each control point, (1, 1, *N): 1 where one place
            matches and no other does, 0 where all candidates match alike.
        history: Every round of the search, on every level.
    """

    transform: Displacement
    confidence: Image
    history: tuple[Step, ...]

    @property
    def cost(self) -> float:
        """Mean cost of the control points where they were found; 1 is that of random places."""
        return self.history[-1].cost


class Search(ABC):
    """A rule that compares many candidate places at once; a frozen dataclass of numbers."""

    name: str

    @abstractmethod
    def __call__(self, fixed: Image, moving: Image) -> Found:
        """Find where the parts of a fixed image, (1, C, *S), are in a moving image on any grid.

        Raises:
            ValueError: if the images cannot be searched, or not with these settings.
        """

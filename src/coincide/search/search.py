"""Search: the interface of every answer that is picked from candidates, not approached by steps."""

import time
from abc import abstractmethod
from dataclasses import dataclass

from coincide.registration import Step
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.transform import Transform
from coincide.way import Found, Pair, Watch, Way


@dataclass(frozen=True, eq=False)
class Picked:
    """What a search picks.

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


class Search(Way):
    """A rule that compares many candidate places at once; a frozen dataclass of numbers."""

    @abstractmethod
    def pick(self, fixed: Image, moving: Image) -> Picked:
        """Find where the parts of a fixed image, (1, C, *S), are in a moving image on any grid.

        Raises:
            ValueError: if the images cannot be searched, or not with these settings.
        """

    def refines(self, start: Transform) -> bool:  # noqa: ARG002
        """Nothing: it looks everywhere within reach, on top of what was found."""
        return False

    def __call__(
        self, pair: Pair, start: Transform | None = None, watch: Watch | None = None
    ) -> Found:
        """Search on the pair's images."""
        assert start is None
        begin = time.perf_counter()
        found = self.pick(*pair.images)
        if watch is not None:
            for step in found.history:
                watch(step)
        return Found(
            found.transform.to("cpu"),
            self,
            found.history,
            f"{self.name}: {found.cost:.3f}",
            time.perf_counter() - begin,
            confidence=found.confidence,
        )

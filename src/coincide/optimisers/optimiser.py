"""Optimiser: the interface of everything that moves a transform downhill."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor, nn

from coincide.alignment import Alignment
from coincide.objective import Objective, Similarity
from coincide.registry import written
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
        outer: The transform under which the moving image has been resampled already; see
            `Alignment`.
        steps: How many steps the level has at most, for what is planned over them; 0: not known.
    """

    fixed: Image
    moving: Image
    transform: Transform
    objective: Objective
    outer: Transform | None = None
    steps: int = 0

    @cached_property
    def prepared(self) -> dict[Any, Any]:
        """What terms have computed of these two images, shared by all steps."""
        return {}

    def alignment(self, transform: Transform | None = None) -> Alignment:
        """The two images under a transform; None: that of the problem as it is now."""
        transform = self.transform if transform is None else transform
        return Alignment(self.fixed, self.moving, transform, self.outer, self.prepared)

    def free(self) -> list[nn.Parameter]:
        """Parameters of the transform that may be moved.

        Raises:
            ValueError: if there are none.
        """
        found = [p for p in self.transform.parameters() if p.requires_grad]
        if not found:
            raise ValueError(
                f"this {type(self.transform).__name__} has nothing to move: it is frozen, which "
                "requires_grad_(True) undoes, or a network computed it, which is then trained "
                "itself (torch.optim), or copied by .on(grid) under torch.no_grad()"
            )
        return found

    def features(self, term: Similarity) -> tuple[Image, Image]:
        """Both images as a similarity compares them, not warped; computed once a level."""
        return self.alignment().prepare(term)

    def cost(self) -> tuple[Tensor, dict[str, float]]:
        """Value of the objective, with gradient, and of its terms."""
        return self.objective(self.alignment())


class Run(ABC):
    """An optimiser at work on one level: it owns the state.

    `stalled` says that no further step would lower the cost; `noisy` that each cost is of another
    sample, so that no single one tells how far it is; `planned` that the lengths of steps are laid
    out over all of them and fall towards the last, so that stopping before would leave the
    parameters where long steps threw them: whether the cost has settled is not asked; `note` is
    for the person who reads how the level ended.
    """

    stalled: bool = False
    noisy: bool = False
    planned: bool = False
    note: str = ""

    @abstractmethod
    def step(self) -> tuple[float, dict[str, float]]:
        """Make one update; return the cost before it, and the value of every term."""

    @abstractmethod
    def finish(self) -> Transform:
        """The transform after the last step."""


class Optimiser(ABC):
    """A rule for making steps; a frozen dataclass of numbers.

    `slides` says that it draws the weight of the penalties for a `siren_conditional`.
    """

    name: ClassVar[str]
    slides: ClassVar[bool] = False

    def __str__(self) -> str:
        return written(self)

    def suited(self, transform: Transform) -> "Optimiser | None":  # noqa: ARG002
        """The optimiser that takes this one's part for such a transform.

        A preset names an optimiser for the transform that it names itself; with another one this
        is asked. None: nothing does, take what the transform itself suggests.
        """
        return self

    @abstractmethod
    def start(self, problem: Problem) -> Run:
        """Begin on a level.

        Raises:
            ValueError: if this optimiser cannot move that transform, saying which it can.
        """

"""Registration: the result of registering two images."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from coincide.alignment import Alignment
from coincide.space.image import Image
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class Step:
    """One optimiser update, as it is watched and kept.

    Args:
        stage: Which part of the registration, such as `affine` or `displacement`.
        level: Pyramid level, 0 the coarsest.
        step: Count within the level, from 0.
        cost: Value of the objective.
        terms: Value of every term before its weight.
    """

    stage: str
    level: int
    step: int
    cost: float
    terms: dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """One start that the initialisation tried.

    Args:
        name: Where it came from, such as `header` or `rotation 12`.
        cost: What it reached on the coarsest level; lower is better.
        refined: Whether it was improved there, or only looked at.
        chosen: Whether it is the one that was gone on from.
    """

    name: str
    cost: float
    refined: bool = False
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class Registration:
    """What `register` returns.

    Args:
        fixed: Fixed image as given, world RAS+.
        moving: Moving image as given.
        transform: Fixed-world to moving-world points, mm.
        inverse: Moving-world to fixed-world points, mm.
        history: Every optimiser step, in order.
        candidates: Starts tried by the alignment: the chosen one, then the others, best first.
        margin: By how much the best different answer of the alignment would have cost more, in
            units of its similarity, on one level; below 0 where the header was believed all the
            same, inf where there was none; None: nothing was tried.
        confidence: How clear the choice of a search was at each of its control points, (1, 1, *N),
            from 0 to 1; None: nothing was searched.
        initial: The transform that was given as a start; None: none was.
        settings: Everything needed to repeat the run.
        status: One sentence for a person: how the optimisation ended.
        seconds: Wall time of each stage.
        warnings: What was odd about the input and how it was treated, one sentence each.
    """

    fixed: Image
    moving: Image
    transform: Transform
    inverse: Transform
    history: tuple[Step, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    margin: float | None = None
    confidence: Image | None = None
    initial: Transform | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def alignment(self) -> Alignment:
        """The two images under the transform, on the full fixed grid."""
        return Alignment(self.fixed, self.moving, self.transform)

    @property
    def warped(self) -> Image:
        """The moving image on the fixed grid, linear interpolation."""
        return self.alignment.warped

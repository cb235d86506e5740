"""Objective: a weighted sum of terms, written the same in Python, in files and in a terminal."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.registry import build, parts
from coincide.space.image import Image
from coincide.space.shapes import PerPair


class Term(ABC):
    """One summand of an objective: a number for each pair, lower is better."""

    name: str

    @abstractmethod
    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost of an alignment, (B,)."""

    def __rmul__(self, weight: float) -> "Objective":
        return Objective(((float(weight), self),))

    def __mul__(self, weight: float) -> "Objective":
        return Objective(((float(weight), self),))

    def __add__(self, other: "Term | Objective") -> "Objective":
        return Objective(((1.0, self),)) + other

    def __str__(self) -> str:
        return written(self)


class Similarity(Term):
    """How well two images agree; by tradition called similarity, yet a cost: 0 or least is best.

    `squared` says that `compare` is the mean over channels and mask of the squared difference,
    which optimisers of least squares need.
    """

    squared: ClassVar[bool] = False

    def prepare(self, image: Image) -> Image:
        """The image, or the feature image, that is warped and compared; computed once a level."""
        return image

    @abstractmethod
    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost of two (feature) images on one grid, (B,); only where `warped.mask` counts."""

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost of an alignment, (B,)."""
        return self.compare(*alignment.features(self))

    def of(self, fixed: Image, moving: Image) -> "OfPair":
        """The same measure on another pair of images, such as label maps, moved along."""
        return OfPair(self, fixed, moving)


class Penalty(Term):
    """What is undesirable in a transform, whatever the images."""


@dataclass(frozen=True, eq=False)
class OfPair(Term):
    """A similarity of images other than the registered ones, warped by the same transform."""

    similarity: Similarity
    fixed: Image
    moving: Image

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the measure."""
        return f"{self.similarity.name} of pair"

    def __str__(self) -> str:
        return self.name

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        pair = Alignment(self.fixed, self.moving, alignment.transform)
        return self.similarity(pair)


@dataclass(frozen=True)
class Objective:
    """Weighted sum of terms.

    Args:
        terms: (weight, term) pairs.

    Example:
        >>> from coincide.objective import objective
        >>> print(objective("mse + 0.1*bending"))
        mse + 0.1*bending
    """

    terms: tuple[tuple[float, Term], ...]

    def __add__(self, other: "Term | Objective") -> "Objective":
        return Objective(self.terms + objective(other).terms)

    def __rmul__(self, weight: float) -> "Objective":
        return Objective(tuple((weight * w, term) for w, term in self.terms))

    def __mul__(self, weight: float) -> "Objective":
        return weight * self

    def __str__(self) -> str:
        return " + ".join(f"{_shortest(w)}*{t}" if w != 1 else str(t) for w, t in self.terms)

    def __call__(self, alignment: Alignment) -> tuple[Tensor, dict[str, float]]:
        """Total cost (a scalar: the mean over pairs) and the value of every term."""
        total = torch.zeros((), dtype=torch.float64)
        values: dict[str, float] = {}
        for weight, term in self.terms:
            value = term(alignment).mean()
            values[str(term)] = float(value.detach())
            total = total + weight * value
        return total, values

    @property
    def similarities(self) -> tuple[tuple[float, Similarity], ...]:
        """The terms that compare the registered images themselves."""
        return tuple((w, t) for w, t in self.terms if isinstance(t, Similarity))


def objective(value: "str | Term | Objective") -> Objective:
    """An objective from text, from one term, or as it is.

    Raises:
        ValueError: if the text is not a sum of known terms.
        TypeError: if the value is neither text nor made of terms.
    """
    if isinstance(value, str):
        text, value = value, build(value)
        if not isinstance(value, Term | Objective):
            raise ValueError(f"{text!r} is not an objective; known: {', '.join(parts(Term))}")
    if isinstance(value, Objective):
        return value
    if not isinstance(value, Term):
        raise TypeError(f"an objective is a sum of terms; {value!r} is not one")
    return Objective(((1.0, value),))


def _shortest(weight: float) -> str:
    """The fewest digits that are read back as the same number."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)


def written(part: object) -> str:
    """A part as text that `build` reads back: its name and the arguments that are not default."""
    given = [
        f"{f.name}={getattr(part, f.name)!r}"
        for f in fields(part)  # type: ignore[arg-type]
        if getattr(part, f.name) != f.default
    ]
    name: str = part.name  # type: ignore[attr-defined]
    return f"{name}({', '.join(given)})" if given else name

"""Objective: a weighted sum of terms, written the same in Python, in files and in a terminal."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coincide.alignment import Alignment
from coincide.registry import build, parts, written
from coincide.space.image import Image
from coincide.space.pyramid import at
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
    which optimisers of least squares need. `pointwise` says that `compare` treats voxels as a
    heap, of which any sample will do, and does not look at which are neighbours: what needs
    neighbours is in the features. `pyramid` says that features are made on the finest
    level alone and averaged for the coarser ones.
    """

    squared: ClassVar[bool] = False
    pointwise: ClassVar[bool] = False
    pyramid: bool = False

    def prepare(self, image: Image) -> Image:
        """The image, or the feature image, that is warped and compared; computed once a level."""
        return image

    def prepared(self, fixed: Image, moving: Image) -> tuple[Image, Image]:
        """Both images prepared; for features of one that depend on what the other shows."""
        return self.prepare(fixed), self.prepare(moving)

    def support(self, fixed: Image) -> np.ndarray | None:  # noqa: ARG002
        """Spans of the voxels of a warped image that `compare` looks at; None: it may be all.

        Args:
            fixed: Prepared.
        """
        return None

    @abstractmethod
    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost of two (feature) images on one grid, (B,); only where `warped.mask` counts."""

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost of an alignment, (B,)."""
        return self.compare(*alignment.features(self))

    def of(self, fixed: Image, moving: Image) -> "OnPair":
        """The same measure on another pair of images, such as feature images, moved along."""
        return OnPair(self, fixed, moving)

    def cost(self, fixed: Image, moving: Image, alignment: Alignment) -> PerPair:
        """Cost of other images under the transform of an alignment, as coarse as its images."""
        if self not in alignment.prepared:
            device = alignment.fixed.data.device
            # as coarse as the images of the level: finer ones would cost time and add no detail
            coarse = [coarsened(i, alignment.fixed.grid.finest).to(device) for i in (fixed, moving)]
            alignment.prepared[self] = self.prepared(coarse[0], coarse[1])
        one, other = alignment.prepared[self]
        pair = Alignment(one, other, alignment.transform)
        return self.compare(one, pair.warped)


class PairedTerm(Term):
    """What is compared beside the images and moves along with them: label maps, landmarks.

    Made from text it has no data yet; `of`, or `with_data` of the whole objective, adds them.
    """

    def __call__(self, alignment: Alignment) -> PerPair:  # noqa: ARG002
        """Refused: there is nothing to compare yet."""
        raise ValueError(absent(self.name))

    @abstractmethod
    def of(self, fixed: Any, moving: Any) -> "OnPair":
        """The term for these data, in the worlds of the fixed and of the moving image."""

    @abstractmethod
    def cost(self, fixed: Any, moving: Any, alignment: Alignment) -> PerPair:
        """Cost of the data under the transform of an alignment, (B,)."""


class Penalty(Term):
    """What is undesirable in a transform, whatever the images.

    `whole` says that it is a property of the map between the two images, not of each part of it.
    `order` is that of the highest derivative of the map that it looks at, where it is the mean of
    a `density`; 0: it is not.
    """

    whole: ClassVar[bool] = False
    order: ClassVar[int] = 0

    def density(self, jacobian: Tensor, hessian: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """What is averaged over the image, at points where the derivatives of the map are known.

        Args:
            jacobian: First derivatives, (B, P, D, D), as `jacobian_at` gives them.
            hessian: Second derivatives, (B, P, D, D, D), 1/mm; None: `order` is 1.

        Returns:
            (B, P).

        Raises:
            ValueError: if it is no mean of what can be said of a point.
        """
        raise ValueError(f"{self} is known on a grid only, not at points")


@dataclass(frozen=True, eq=False)
class OnPair(Term):
    """A term on data other than the registered images, moved by the same transform.

    Args:
        term: What is measured.
        fixed: Data in the fixed world.
        moving: Data in the moving world.
    """

    term: Similarity | PairedTerm
    fixed: Any
    moving: Any

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the measure."""
        return f"{self.term.name} of pair"

    def __str__(self) -> str:
        return str(self.term) if isinstance(self.term, PairedTerm) else self.name

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        own = alignment.prepared.setdefault(self, {})  # the images may be measured alike
        # these data were not resampled under what was found before
        there = Alignment(alignment.fixed, alignment.moving, alignment.whole, prepared=own)
        return self.term.cost(self.fixed, self.moving, there)


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

    def costs(self, alignment: Alignment) -> Float[Tensor, "B T"]:
        """Cost of every pair by every term, before its weight, (B, T), with gradient."""
        columns = [term(alignment) for _, term in self.terms]
        count = max(len(column) for column in columns)
        # a term that does not look at the images has one value where the transform serves all
        return torch.stack([column.double().expand(count) for column in columns], 1)

    @property
    def weights(self) -> Float[Tensor, "T"]:
        """Weight of every term, (T,); a pair's cost is `costs @ weights`."""
        return torch.tensor([weight for weight, _ in self.terms], dtype=torch.float64)

    def __call__(self, alignment: Alignment) -> tuple[Tensor, dict[str, float]]:
        """Total cost (a scalar: the mean over pairs) and the value of every term."""
        means = self.costs(alignment).mean(0)
        values = {str(term): float(means[n].detach()) for n, (_, term) in enumerate(self.terms)}
        return means @ self.weights.to(means.device), values

    @property
    def similarities(self) -> tuple[tuple[float, Similarity], ...]:
        """The terms that compare the registered images themselves."""
        return tuple((w, t) for w, t in self.terms if isinstance(t, Similarity))

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the terms that have not been given their data."""
        return tuple(t.name for _, t in self.terms if isinstance(t, PairedTerm))

    def with_data(self, name: str, fixed: Any, moving: Any) -> "Objective":
        """The same sum, its terms of that name with their data; unchanged if there are none.

        Args:
            name: `labels`, `landmarks` or `field`.
            fixed: Label map, or points (P, D) in mm, of the fixed image.
            moving: The same of the moving image.
        """
        terms = [
            (w, t.of(fixed, moving) if isinstance(t, PairedTerm) and t.name == name else t)
            for w, t in self.terms
        ]
        return Objective(tuple(terms))


def objective(value: "str | Term | Objective") -> Objective:
    """An objective from text, from one term, or as it is.

    Raises:
        ValueError: if the text is not a sum of known terms.
        TypeError: if the value is neither text nor made of terms.
    """
    if isinstance(value, str):
        text, value = value, build(value, among=Term)
        if not isinstance(value, Term | Objective):
            raise ValueError(f"{text!r} is not an objective; known: {', '.join(parts(Term))}")
    if isinstance(value, Objective):
        return value
    if not isinstance(value, Term):
        raise TypeError(f"an objective is a sum of terms; {value!r} is not one")
    return Objective(((1.0, value),))


def absent(name: str) -> str:
    """What to do about a term that has no data."""
    return (
        f"the objective has the term {name!r} but was not given the {name} of both images; give "
        f"them, in Python by objective(...).with_data({name!r}, fixed, moving)"
    )


def coarsened(image: Image, spacing: float) -> Image:
    """The image with voxels of about `spacing` mm, where its own are finer."""
    return at(image, image.grid.shrink(image.grid.factors(spacing)))


def _shortest(weight: float) -> str:
    """The fewest digits that are read back as the same number."""
    short = f"{weight:g}"
    return short if float(short) == weight else repr(weight)

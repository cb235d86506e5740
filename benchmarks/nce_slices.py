"""Slices of brains for the sweep of smoothness, and the training that is told the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from metric import TUNED, drawn, slices
from torch import Tensor, nn

from coincide.alignment import Alignment
from coincide.networks.intensity import normalised
from coincide.objective import Objective, Similarity, objective
from coincide.predictors.cost import cost
from coincide.predictors.predictor import Predictor
from coincide.space.image import Image
from coincide.synthetic.noise import numbered, uniform, whole
from coincide.training.cases import Case, Cases
from coincide.training.loop import Task
from coincide.training.pairs import PairsTask
from coincide.training.subjects import Subjects

PAIRS = 60  # that are scored


@dataclass(frozen=True)
class Slices:
    """All slices as they are trained on, and where they are written to.

    Args:
        subjects: First contrasts, then as many second ones.
        test: Pairs that are scored, (fixed, moving) by the number of the slice.
        work: Folder of what is finished.
    """

    subjects: Subjects
    test: list[tuple[int, int]]
    work: Path

    @property
    def count(self) -> int:
        """Of the slices."""
        return len(self.subjects.data) // 2

    def pair(self, pairs: Sequence[tuple[int, int]]) -> tuple[Image, Image]:
        """First contrast of the fixed slices and second one of the moving ones."""
        fixed, moving = zip(*pairs, strict=True)
        return self.subjects.images(fixed), self.subjects.images([self.count + n for n in moving])

    def cases(self) -> Cases:
        """What is trained on; two pairs of it are looked at, as a loop wants."""
        known = [(a, b) for a in range(TUNED) for b in range(TUNED) if abs(a - b) > 1]
        pairs = tuple((a, self.count + b) for a, b in known)
        names = [Case(Path(f"{c}_{n}")) for c in ("first", "second") for n in range(self.count)]
        return Cases(tuple(names), pairs, pairs[:2], ())


class Told(Task):
    """What the network would learn if the first contrast behind the second were known.

    Args:
        inner: The pairs, the network and its seed.
        told: The similarity of the first contrasts, and its weight.
    """

    def __init__(self, inner: PairsTask, told: Similarity, weight: float):
        self.inner, self.network, self.told, self.weight = inner, inner.network, told, weight
        self.settings = {"told": str(told), **inner.settings}

    def loss(self, network: nn.Module, step: int) -> tuple[Tensor, dict[str, float]]:
        """Mean cost over the pairs of a batch."""
        assert isinstance(network, Predictor)
        random = numbered(self.inner.recipe.seed, step)
        weight, known = uniform(random, 0, 1), self.inner.cases.training
        chosen = [known[whole(random, 0, len(known))] for _ in range(self.inner.recipe.batch)]
        seen = self.inner.batches.drawn(chosen, random, "cpu")
        half = len(self.inner.subjects.data) // 2
        behind = self.inner.subjects.images([b - half for _, b in chosen])
        told = Objective(((self.weight, self.told.of(seen.fixed, behind)),))
        found = Alignment(seen.fixed, seen.moving, network(seen.fixed, seen.moving, weight))
        return cost(told + objective("diffusion"), found, weight)

    def validate(self, network: nn.Module) -> dict[str, float]:  # noqa: ARG002
        """Nothing: it is scored with all others."""
        return {}

    def pictures(self, network: nn.Module) -> tuple[str, list[np.ndarray]]:  # noqa: ARG002
        """None."""
        return "", []


def read(data: Path, work: Path) -> Slices:
    """Slices from 0 to 1, nothing but the brain, which alone counts."""
    ones, others, maps = slices(data)
    brain = tuple((image.data > 0).float() for image in maps) * 2
    grey = [normalised(i.data * b) * b for i, b in zip([*ones, *others], brain, strict=True)]
    labels = tuple(image.data for image in maps) * 2
    still = (np.eye(3),) * len(grey)
    subjects = Subjects(ones[0].grid, tuple(grey), brain, labels, centred=False, matrices=still)
    return Slices(subjects, drawn(TUNED, len(ones), PAIRS, 1), work)

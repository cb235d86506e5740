"""Predict: a way that asks a trained network."""

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from coincide.alignment import Alignment
from coincide.objective import objective
from coincide.predictors.cost import cost
from coincide.predictors.model import load_model
from coincide.predictors.predictor import Predictor
from coincide.registration import Step
from coincide.registry import named, positive
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Translation
from coincide.transforms.transform import Transform
from coincide.way import Found, Pair, Watch, Way


@named("predict")
@dataclass(frozen=True)
class Predict(Way):
    """Ask a trained network where everything is, in one look of a fraction of a second.

    It begins on top of whatever was found before, which should be an alignment at least as good as
    that of the pairs it was trained on; where nothing was found, the images are aligned as those
    were, by the file or by their centres. What comes next refines the answer:
    `affine >> predict(model='mine.safetensors') >> displacement`.

    Args:
        model: File that `coincide train` wrote.
        weight: How much smoothness counts beside similarity, from 0 to 1, for a conditional
            network; None for any other.
        steps: How often all weights of a copy of the network are moved downhill on this one pair
            before it answers, which corrects it where images differ from those it knows.
        objective: What these steps lower.
        rate: Learning rate of these steps.

    Raises:
        ValueError: if the weight lies outside of 0 to 1, or there cannot be so many steps.

    References:
        Mok et al. (2023), "Deformable Medical Image Registration Under Distribution Shifts with
        Neural Instance Optimization", doi:10.1007/978-3-031-45673-2_13, for steps.
    """

    model: str = ""
    weight: float | None = None
    steps: int = 0
    objective: str = "lncc(radius=2, floor=0.001) + 0.2*diffusion"
    rate: float = 0.0005

    def __post_init__(self):
        positive(self, "steps", zero=True)
        positive(self, "rate")
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise ValueError(f"predict takes a weight from 0 to 1, not {self.weight}")

    def refines(self, start: Transform) -> bool:  # noqa: ARG002
        """Nothing: it sees the images under what was found."""
        return False

    def __call__(
        self,
        pair: Pair,
        start: Transform | None = None,
        watch: Watch | None = None,
    ) -> Found:
        """Predict on the pair's images.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if it cannot be asked about such images.
        """
        assert start is None
        if not self.model:
            raise ValueError("predict takes a model, such as predict(model='mine.safetensors')")
        begin = time.perf_counter()
        model = load_model(self.model, device=pair.device)
        first: Transform | None = None
        if pair.outer is None and model.centred:
            first = centred(pair)
            pair = pair.under(first)
        predictor, history = self._adapted(model.predictor, pair, watch)
        with torch.no_grad():
            found = predictor(*pair.images, self.weight).to("cpu")
        found = found if first is None else Composite((first, found))
        # as an absolute path, so that what was run can be repeated from anywhere
        way = replace(self, model=str(Path(self.model).resolve()))
        status = f"{self.name}: {model.predictor.name} {model.card['sha256'][:8]}"
        return Found(found, way, history, status, time.perf_counter() - begin)

    def _adapted(
        self, predictor: Predictor, pair: Pair, watch: Watch | None
    ) -> tuple[Predictor, tuple[Step, ...]]:
        """The network after its steps on this pair; the same where there are none."""
        if self.steps == 0:
            return predictor, ()
        target = objective(self.objective)
        # a copy, as the one that was loaded serves the next pair too
        predictor = copy.deepcopy(predictor).requires_grad_(True)
        rule = torch.optim.Adam(predictor.parameters(), lr=self.rate)
        fixed, moving = pair.images
        history = []
        for number in range(self.steps):
            found = predictor(fixed, moving, self.weight)
            total, values = cost(target, Alignment(fixed, moving, found, pair.outer), self.weight)
            rule.zero_grad(set_to_none=True)
            total.backward()
            rule.step()
            history.append(Step(self.name, 0, number, float(total.detach()), values))
            if watch is not None:
                watch(history[-1])
        return predictor.requires_grad_(False), tuple(history)


def centred(pair: Pair) -> Translation:
    """The shift that takes the middle of the fixed image to that of the moving one."""
    fixed, moving = pair.fixed.image.grid, pair.moving.image.grid
    matrix = np.eye(fixed.dim + 1)
    matrix[:-1, -1] = moving.centre - fixed.centre
    return Translation(matrix, centre=fixed.centre)

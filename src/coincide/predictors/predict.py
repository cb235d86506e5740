"""Predict: a way that asks a trained network."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from coincide.predictors.model import load_model
from coincide.registry import named
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

    Raises:
        ValueError: if no model is given, or the weight lies outside of 0 to 1.
    """

    model: str = ""
    weight: float | None = None

    def __post_init__(self):
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise ValueError(f"predict takes a weight from 0 to 1, not {self.weight}")

    def refines(self, start: Transform) -> bool:  # noqa: ARG002
        """Nothing: it sees the images under what was found."""
        return False

    def __call__(
        self,
        pair: Pair,
        start: Transform | None = None,
        watch: Watch | None = None,  # noqa: ARG002
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
        with torch.no_grad():
            found = model.predictor(*pair.images, self.weight).to("cpu")
        found = found if first is None else Composite((first, found))
        # as an absolute path, so that what was run can be repeated from anywhere
        way = replace(self, model=str(Path(self.model).resolve()))
        status = f"{self.name}: {model.predictor.name} {model.card['sha256'][:8]}"
        return Found(found, way, (), status, time.perf_counter() - begin)


def centred(pair: Pair) -> Translation:
    """The shift that takes the middle of the fixed image to that of the moving one."""
    fixed, moving = pair.fixed.image.grid, pair.moving.image.grid
    matrix = np.eye(fixed.dim + 1)
    matrix[:-1, -1] = moving.centre - fixed.centre
    return Translation(matrix, centre=fixed.centre)

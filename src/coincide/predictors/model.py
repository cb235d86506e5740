"""Model: a trained predictor with its card, as a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from coincide.files.atomic import atomic
from coincide.networks.model_file import model_bytes, read_model
from coincide.predictors.predictor import Predictor
from coincide.registry import build

KIND = "predictor"


@dataclass(frozen=True, eq=False)
class Model:
    """What a file holds.

    Args:
        predictor: Trained and frozen.
        card: What it is, what it was trained on and what came of it.
    """

    predictor: Predictor
    card: Mapping[str, Any]

    @property
    def centred(self) -> bool:
        """Whether the middles of the two images lay on each other in every pair it has seen."""
        return self.card.get("alignment") == "centre"


def load_model(path: str | Path, *, device: str | torch.device = "cpu") -> Model:
    """A trained predictor, frozen, with its card.

    Args:
        path: File that `coincide train` wrote.
        device: Where its weights are wanted.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or holds no predictor.
    """
    path = Path(path).resolve()
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _loaded(str(path), changed, torch.device(device))


@cache
def _loaded(path: str, changed: int, device: torch.device) -> Model:  # noqa: ARG001
    state, card = read_model(path)
    if card["network"] != KIND:
        raise ValueError(
            f"{path} holds a network {card['network']!r}, which predicts no transform; give a file "
            "that coincide train PAIRS --predictor ... wrote"
        )
    predictor: Predictor = build(card["predictor"], Predictor)
    predictor.load_state_dict(state)
    return Model(predictor.requires_grad_(False).eval().to(device), card)


def save_model(predictor: Predictor, card: Mapping[str, Any], path: str | Path) -> None:
    """Write weights, as numbers of 16 bits, and what they are.

    Args:
        predictor: Trained.
        card: What it was trained on and what came of it, plain values.
        path: `.safetensors`.

    Raises:
        ValueError: if the name ends in anything else.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"weights are written as .safetensors, not as {path.name}")
    whole = {"network": KIND, "predictor": str(predictor), **card}
    with atomic(path) as temporary:
        temporary.write_bytes(model_bytes(predictor, whole))

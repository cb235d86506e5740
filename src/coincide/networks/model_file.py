"""Model file: the weights of a network with its card, as safetensors."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

KEY = "coincide"


def model_bytes(network: nn.Module, card: Mapping[str, Any], *, half: bool = True) -> bytes:
    """A network as the bytes of a file.

    Args:
        network: Whose weights.
        card: What it is and what it was trained on, plain values; its hash is added.
        half: Keep numbers of 16 bits, which is half of the space; they are rounded.
    """
    kind = torch.float16 if half else torch.float32
    state = {k: v.detach().cpu().to(kind).contiguous() for k, v in network.state_dict().items()}
    return save(state, {KEY: json.dumps({**card, "sha256": weights_hash(state)})})


def read_model(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, as float32, and card.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no model of Coincide, or its weights are not those of its card.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no model {path}")
    try:
        with safe_open(path, "pt") as file:
            card = json.loads((file.metadata() or {}).get(KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from None
    if card is None:
        raise ValueError(f"{path} has no card of Coincide; give a file that coincide train wrote")
    if weights_hash(state) != card["sha256"]:
        raise ValueError(f"{path} is damaged: its weights are not those of its card; get it anew")
    return {name: values.float() for name, values in state.items()}, card


def weights_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of all weights, by their names in order."""
    found = hashlib.sha256()
    for name, values in sorted(state.items()):
        found.update(name.encode())
        found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()

"""Self-similarity of features on the CPU, without gradient."""

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.as_3d import as_3d
from coincide.kernels.structure import SLOPE, Squeeze, loops

GRADIENTS = {"self_similarity": (), "structure": ()}


def self_similarity(
    features: Tensor, floor: Tensor, dilations: tuple[int, ...], shared: bool
) -> Tensor:
    """(B, C L 12, *S); see `coincide.kernels.structure`."""
    count = features.shape[1] * len(dilations) * 12
    out = torch.empty(len(features), count, *features.shape[2:], dtype=features.dtype)
    floors = floor.detach().numpy().astype(as_3d(features).dtype)
    for wide, target in zip(as_3d(features), as_3d(out), strict=True):
        loops.self_similarity(*_padded(wide, dilations, floors), shared, target)
    return out


def structure(
    features: Tensor, floor: Tensor, dilations: tuple[int, ...], squeeze: Squeeze, shared: bool
) -> Tensor:
    """(B, O, *S); see `coincide.kernels.structure`."""
    kind = as_3d(features).dtype
    first, first_bias, second, second_bias = (
        np.ascontiguousarray(one.detach().numpy().astype(kind)) for one in squeeze
    )
    # hidden units that do nothing bring their number to a multiple of four
    spare = -len(first) % 4
    first, first_bias = np.pad(first, ((0, spare), (0, 0))), np.pad(first_bias, (0, spare))
    second = np.pad(second, ((0, 0), (0, spare)))
    out = torch.empty(len(features), len(second), *features.shape[2:], dtype=features.dtype)
    floors = floor.detach().numpy().astype(kind)
    maps = first, first_bias, second, second_bias, kind.type(SLOPE)
    for wide, target in zip(as_3d(features), as_3d(out), strict=True):
        loops.structure(*_padded(wide, dilations, floors), shared, *maps, target)
    return out


def _padded(
    features: np.ndarray, dilations: tuple[int, ...], floors: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Features with a continued border, and the other arguments that both loops take."""
    margin = max(dilations)
    wide = np.pad(features, ((0, 0), *((margin, margin),) * 3), mode="edge")
    return wide, floors, np.array(dilations, np.int64), margin

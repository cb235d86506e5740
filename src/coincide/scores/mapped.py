"""Mapped: where a transform takes points that come from a file or a random choice."""

import numpy as np
import torch

from coincide.transforms.transform import Transform


def mapped(transform: Transform, points: np.ndarray) -> np.ndarray:
    """World points, mm, (P, D), after a transform, on its device and with its precision.

    A field of float32 is asked with float32 points, 0.00002 mm apart at most: in float64 the whole
    field would first be copied.
    """
    parts = [*transform.parameters(), *transform.buffers()]
    single = any(part.dtype == torch.float32 for part in parts)
    start = torch.tensor(
        points,
        dtype=torch.float32 if single else torch.float64,
        device=parts[0].device if parts else "cpu",
    )
    with torch.no_grad():
        return transform(start[None])[0].double().cpu().numpy()

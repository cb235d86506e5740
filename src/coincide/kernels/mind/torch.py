"""Self-similarity context with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.shapes import Volume

GRADIENTS = {"descriptors": ("volume",)}


def continued(volume: Volume, reach: list[int]) -> Volume:
    """The volume with its border repeated `reach` times on both sides of each axis."""
    for axis, r in enumerate(reach, start=2):
        if r:
            ends = volume.narrow(axis, 0, 1), volume.narrow(axis, volume.shape[axis] - 1, 1)
            size = [r if d == axis else -1 for d in range(volume.ndim)]
            volume = torch.cat([ends[0].expand(size), volume, ends[1].expand(size)], axis)
    return volume


def part(volume: Volume, start: list[int], shape: tuple[int, ...]) -> Volume:
    """A box of a volume, as a view."""
    for axis, (first, n) in enumerate(zip(start, shape, strict=True), start=2):
        volume = volume.narrow(axis, first, n)
    return volume


def distances(volume: Volume, first: np.ndarray, second: np.ndarray, radius: int) -> Tensor:
    """Patch distances, (B, C, *S); see `coincide.kernels.mind`."""
    shape = tuple(volume.shape[2:])
    reach = np.abs(np.stack([first, second])).max((0, 1)).astype(int)
    wide = continued(volume, reach.tolist())
    patch = [radius if n > 1 else 0 for n in shape]
    channels = []
    for a, b in zip(first.astype(int), second.astype(int), strict=True):
        one, two = (part(wide, (reach + offset).tolist(), shape) for offset in (a, b))
        # the squares are continued, not the image: a patch at the border repeats what it has
        square = continued((one - two) ** 2, patch)
        for axis, r in enumerate(patch, start=2):
            n = shape[axis - 2]
            total = square.narrow(axis, 0, n)
            for q in range(1, 2 * r + 1):
                total = total + square.narrow(axis, q, n)
            # an axis at a time; the mean over a box is that of the means
            square = total / (2 * r + 1)
        channels.append(square)
    return torch.cat(channels, 1)


def descriptors(
    volume: Volume, first: np.ndarray, second: np.ndarray, radius: int, floor: float
) -> Volume:
    """Descriptors (B, C, *S); see `coincide.kernels.mind`."""
    distance = distances(volume, first, second, radius)
    distance = distance - distance.amin(1, keepdim=True)
    spread = distance.mean(1, keepdim=True)
    mean = spread.mean(tuple(range(1, spread.ndim)), keepdim=True).clamp_min(1e-12)
    spread = torch.minimum(torch.maximum(spread, floor * mean), mean / floor)
    return (-distance / spread).exp()

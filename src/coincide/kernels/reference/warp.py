"""The same sampling with torch operations: the reference, and the way on other devices."""

import numpy as np
import torch

from coincide.space.grid import tensor
from coincide.space.shapes import Field, Volume


def warp(
    volume: Volume, field: Field, index: np.ndarray, scale: np.ndarray, clamp: bool
) -> tuple[Volume, Volume]:
    """Linear sampling of `volume` at index · voxel + scale · field; see `coincide.kernels.warp`."""
    shape, dim = field.shape[2:], field.shape[1]
    axes = [torch.arange(n, dtype=volume.dtype, device=volume.device) for n in shape]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    start, linear = tensor(index, volume)[:, -1], tensor(index, volume)[:, :-1]
    position = torch.einsum("de,e...->d...", linear, voxel) + start.view(-1, *(1,) * dim)
    position = position + torch.einsum("de,be...->bd...", tensor(scale, volume), field)
    size = torch.tensor(volume.shape[2:], device=volume.device).view(-1, *(1,) * dim)
    valid = ((position >= -0.5) & (position < size - 0.5)).all(1, keepdim=True).to(volume.dtype)
    position = torch.minimum(position.clamp_min(0), (size - 1).to(volume.dtype))
    out = corners(volume, position)
    return (out if clamp else out * valid), valid


def corners(volume: Volume, position: Field) -> Volume:
    """Sum over the 2^D neighbours of every position, given in voxels inside the volume."""
    batch, channels = volume.shape[:2]
    dim, shape = position.shape[1], position.shape[2:]
    low = position.detach().floor().long()
    fraction = position - low
    flat = volume.reshape(batch, channels, -1).expand(position.shape[0], -1, -1)
    out = torch.zeros((), dtype=volume.dtype, device=volume.device)
    for corner in range(2**dim):
        weight = torch.ones((), dtype=volume.dtype, device=volume.device)
        address = torch.zeros((), dtype=torch.long, device=volume.device)
        for axis, n in enumerate(volume.shape[2:]):
            up = corner >> axis & 1
            neighbour = (low[:, axis] + up).clamp_max(n - 1)
            weight = weight * (fraction[:, axis] if up else 1 - fraction[:, axis])
            address = address * n + neighbour
        gathered = flat.gather(2, address.reshape(len(position), 1, -1).expand(-1, channels, -1))
        out = out + weight[:, None] * gathered.reshape(-1, channels, *shape)
    return out

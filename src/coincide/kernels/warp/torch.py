"""Linear sampling at displaced voxels with torch operations."""

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import tensor, transform_vectors
from coincide.space.shapes import Field, Volume

GRADIENTS = {
    "warp": ("volume", "field"),
    "warp_into": (),
    "warp_linear": ("volume", "index"),
    "force_along": (),
}


def warp(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...] | None = None,
    clamp: bool = False,
    spans: np.ndarray | None = None,  # noqa: ARG001 - everything is sampled
) -> tuple[Volume, Volume]:
    """Samples (B, C, *S) and where they are inside; see `coincide.kernels.warp`."""
    size = shape if field is None else field.shape[2:]
    assert size is not None
    position = positions(tensor(index, volume), tuple(size))
    if field is not None:
        position = position + torch.einsum("de,be...->bd...", tensor(scale, volume), field)
    return sampled(volume, position, clamp)


def warp_into(
    volume: Volume,
    field: Field | None,
    index: np.ndarray,
    scale: np.ndarray,
    shape: tuple[int, ...] | None,
    clamp: bool,
    spans: np.ndarray | None,  # noqa: ARG001
    out: tuple[Volume, Volume],
) -> tuple[Volume, Volume]:
    """The same, written to `out`."""
    values, valid = warp(volume, field, index, scale, shape, clamp)
    return out[0].copy_(values), out[1].copy_(valid)


def warp_linear(
    volume: Volume, index: Tensor, shape: tuple[int, ...], clamp: bool = False
) -> tuple[Volume, Volume]:
    """Samples at index · voxel and where they are inside."""
    position = positions(index.to(volume.device), shape).to(volume.dtype)
    return sampled(volume, position, clamp)


def force_along(
    gradient: Volume,
    volume: Volume,
    field: Field,
    metric: np.ndarray,
    spans: np.ndarray | None,  # noqa: ARG001
    out: Field,
) -> Field:
    """Steepest descent under changes of the displacement, in `out`."""
    dim, moved = field.shape[1], field.detach().requires_grad_()
    with torch.enable_grad():
        values, _ = warp(volume.detach(), moved, np.eye(dim, dim + 1), np.eye(dim))
    (toward,) = torch.autograd.grad(values, moved, gradient)
    return torch.mul(transform_vectors(metric, toward), -1, out=out)


def positions(index: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Index · (voxel, 1) at every voxel, (1, D, *S)."""
    axes = [torch.arange(n, dtype=index.dtype, device=index.device) for n in shape]
    voxel = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    start = index[:, -1].view(-1, *(1,) * len(shape))
    return (torch.einsum("de,e...->d...", index[:, :-1], voxel) + start)[None]


def sampled(volume: Volume, position: Field, clamp: bool) -> tuple[Volume, Volume]:
    """Values at positions (B or 1, D, *S) in voxels, and where those are inside."""
    position = position.expand(len(volume), *position.shape[1:])
    last = torch.tensor(volume.shape[2:], dtype=volume.dtype, device=volume.device) - 1
    last = last.view(-1, *(1,) * (position.ndim - 2))
    # half a voxel beyond the outermost centres still counts as inside: ITK's rule
    valid = ((position >= -0.5) & (position <= last + 0.5)).all(1, keepdim=True).to(volume.dtype)
    # what is not a number would become an address outside the volume
    position = torch.where(position == position, position, torch.zeros_like(position))
    out = corners(volume, position.clamp(torch.zeros_like(last), last))
    return (out if clamp else out * valid), valid


def corners(volume: Volume, position: Field) -> Volume:
    """Sum over the 2^D neighbours of every position, given in voxels inside the volume."""
    batch, channels = volume.shape[:2]
    dim, shape = position.shape[1], position.shape[2:]
    # the last voxel is the far end of the last cell, not the near end of one that does not exist:
    # the value is the same, but not its derivative
    lasts = [max(n - 2, 0) for n in volume.shape[2:]]
    # positions are 0 or more here, so that cutting off is rounding down
    low = position.detach().long()
    low = torch.stack([low[:, axis].clamp_max(n) for axis, n in enumerate(lasts)], 1)
    fraction = position - low
    flat = volume.reshape(batch, channels, -1)
    out = torch.zeros((), dtype=volume.dtype, device=volume.device)
    for corner in range(2**dim):
        weight = torch.ones((), dtype=volume.dtype, device=volume.device)
        address = torch.zeros((), dtype=torch.long, device=volume.device)
        for axis, n in enumerate(volume.shape[2:]):
            up = corner >> axis & 1
            neighbour = (low[:, axis] + up).clamp_max(n - 1)
            weight = weight * (fraction[:, axis] if up else 1 - fraction[:, axis])
            # file axis order: the last axis is the fastest
            address = address * n + neighbour
        gathered = flat.gather(2, address.reshape(batch, 1, -1).expand(-1, channels, -1))
        out = out + weight[:, None] * gathered.reshape(-1, channels, *shape)
    return out

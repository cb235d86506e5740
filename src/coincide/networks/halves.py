"""Halves: layers between resolutions whose coarse voxel lies in the middle of those it covers.

That is the lattice of `Grid.shrink`, so that a field which a network gives on a coarse resolution
has a place in the world. The sizes need not be even: an odd one is continued by a voxel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

SLOPE = 0.2  # of the leaky rectifiers, for negative values
CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
LINEAR = {2: "bilinear", 3: "trilinear"}


def convolution(dim: int, given: int, made: int, *, kernel: int = 3) -> nn.Module:
    """A convolution with zeros beyond the border, on the same voxels.

    Args:
        dim: 2 or 3 axes.
        given: Channels of the input.
        made: Channels of the output.
        kernel: Voxels along each axis, odd.
    """
    return started(CONVOLUTIONS[dim](given, made, kernel, padding=kernel // 2))


def halving(dim: int, given: int, made: int) -> nn.Module:
    """A convolution to half the resolution, symmetric about the middle of each coarse voxel."""
    return started(CONVOLUTIONS[dim](given, made, 4, stride=2, padding=1))


def started(layer: nn.Module) -> nn.Module:
    """The layer with weights that keep the spread of what passes through rectifiers."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def head(dim: int, given: int, made: int) -> nn.Module:
    """A last convolution that begins at almost nothing, so that a field begins as the identity."""
    layer = CONVOLUTIONS[dim](given, made, 3, padding=1)
    nn.init.normal_(layer.weight, std=1e-5)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def rectified(volume: Tensor) -> Tensor:
    """Leaky rectification."""
    return F.leaky_relu(volume, SLOPE)


def even(volume: Tensor) -> Tensor:
    """Continued by one voxel at the end of each axis of odd size, (B, C, *S)."""
    odd = [n % 2 for n in volume.shape[2:]]
    if not any(odd):
        return volume
    pad = [side for n in reversed(odd) for side in (0, n)]
    return F.pad(volume, pad, mode="replicate")


def packed(volume: Tensor) -> Tensor:
    """The 2ᴰ voxels of each block as channels: half resolution, nothing lost, (B, 2ᴰ C, *S / 2)."""
    volume = even(volume)
    for axis in range(volume.ndim - 1, 1, -1):
        parts = volume.unflatten(axis, (volume.shape[axis] // 2, 2))
        volume = torch.cat(parts.unbind(axis + 1), 1)
    return volume


def doubled(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    """On voxels of half the size, linear between the coarse ones, (B, C, *shape)."""
    mode = LINEAR[volume.ndim - 2]
    volume = F.interpolate(volume, scale_factor=2, mode=mode, align_corners=False)
    return volume[(slice(None), slice(None), *(slice(n) for n in shape))]


def halved(volume: Tensor) -> Tensor:
    """Means of blocks of 2ᴰ voxels, (B, C, ceil(*S / 2))."""
    volume = even(volume)
    return F.avg_pool2d(volume, 2) if volume.ndim == 4 else F.avg_pool3d(volume, 2)

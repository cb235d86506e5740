"""Lattice: half and double resolution, such that coarse voxel i lies on fine voxel 2i."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SLOPE = 0.2  # of the leaky rectifiers, for negative values


def coarser(volume: Tensor) -> Tensor:
    """Blurred by [1, 2, 1] / 4 and sampled at every second voxel, (B, C, ceil(n / 2), …).

    The blur keeps the result from depending on which voxels are sampled; borders are continued.
    """
    for axis in range(2, volume.ndim):
        n = volume.shape[axis]
        if n == 1:
            continue
        first, last = volume.narrow(axis, 0, 1), volume.narrow(axis, n - 1, 1)
        wide = torch.cat([first, volume, last], axis)
        every = [slice(None)] * axis
        before, here, after = (wide[(*every, slice(start, start + n, 2))] for start in (0, 1, 2))
        volume = 0.25 * (before + after) + 0.5 * here
    return volume


def finer(volume: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Linear interpolation at half voxels, (B, C, *shape): the lattice that `coarser` came from."""
    for axis, n in enumerate(shape, start=2):
        coarse = volume.shape[axis]
        if n == 1:
            continue
        following = torch.cat(
            [volume.narrow(axis, 1, coarse - 1), volume.narrow(axis, coarse - 1, 1)], axis
        )
        both = torch.stack([volume, 0.5 * (volume + following)], axis + 1)
        volume = both.flatten(axis, axis + 1).narrow(axis, 0, n)
    return volume


class Convolution(torch.nn.Module):
    """A 3×3×3 convolution whose border is continued, so that no zero tells where the border is.

    Args:
        given: Channels of the input.
        made: Channels of the output.
    """

    def __init__(self, given: int, made: int):
        super().__init__()
        self.inner = torch.nn.Conv3d(given, made, 3)
        torch.nn.init.kaiming_normal_(self.inner.weight, a=SLOPE)
        torch.nn.init.zeros_(self.inner.bias)  # type: ignore[arg-type]

    def forward(self, volume: Tensor) -> Tensor:
        """(B, given, *S) to (B, made, *S)."""
        return self.inner(F.pad(volume, (1,) * 6, mode="replicate"))


def rectified(volume: Tensor) -> Tensor:
    """Leaky rectification."""
    return F.leaky_relu(volume, SLOPE)

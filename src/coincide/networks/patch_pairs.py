"""Patch pairs: a network that says where the middle of a patch of one image is in the other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coincide.networks.halves import CONVOLUTIONS, rectified, started

SIDE = 15  # voxels of a patch along each axis
KERNELS, STEPS = (3, 3, 3, 3), (2, 1, 1, 1)  # of convolutions that leave one voxel of a patch
AROUND = 2  # voxels around the middle of a patch that are looked for in the other
FLAT = 0.01  # standard deviation, of intensities from 0 to 1, below which nothing is recognised
AT_ONCE = 4096  # patches of which the layers are in memory, where nothing is trained


class PatchPairs(nn.Module):
    """Displacement at the middle of patches, from both patches and from a map of similarity.

    The map says for every voxel of the moving patch how the 5ᴰ voxels around it correlate with
    those around the middle of the fixed patch; its peak is a first guess.

    Args:
        dim: 2 or 3 axes.
        widths: Channels after each convolution but the last, which has as many as the one before.

    References:
        Cao et al. (2017), doi:10.1007/978-3-319-66182-7_35.
    """

    def __init__(self, dim: int, widths: Sequence[int] = (16, 32, 64)):
        super().__init__()
        if len(widths) != len(KERNELS) - 1:
            raise ValueError(f"patches take {len(KERNELS) - 1} widths, not {tuple(widths)}")
        self.dim = dim
        given, made = (3, *widths), (*widths, widths[-1])
        self.layers = nn.ModuleList(
            started(CONVOLUTIONS[dim](a, b, k, stride=s))
            for a, b, k, s in zip(given, made, KERNELS, STEPS, strict=True)
        )
        self.head = nn.Linear(widths[-1], dim)
        nn.init.normal_(self.head.weight, std=1e-4)
        nn.init.zeros_(self.head.bias)

    def forward(self, fixed: Tensor, moving: Tensor, centres: Tensor) -> Tensor:
        """Displacements in voxels, (N, D).

        Args:
            fixed: (B, 1, *S), about 0 to 1; continued beyond its border.
            moving: The same.
            centres: (N, 1 + D), int64: which pair, and which voxel of it.
        """
        with torch.no_grad():
            windows = _windows(fixed.float(), moving.float())
        chunks = [centres] if torch.is_grad_enabled() else centres.split(AT_ONCE)
        return torch.cat([self._told(windows, chunk) for chunk in chunks])

    def _told(self, windows: tuple[Tensor, Tensor, Tensor], centres: Tensor) -> Tensor:
        with torch.no_grad():
            here = seen(*windows, centres)
        for layer in self.layers:
            here = rectified(layer(here))
        # as shares of what a patch reaches, so that a first answer is neither far nor nothing
        return SIDE / 2 * self.head(here.flatten(1))


def seen(near: Tensor, far: Tensor, spread: Tensor, centres: Tensor) -> Tensor:
    """Fixed patch, moving patch, each less its mean, and map of similarity, (N, 3, *15).

    Args:
        near: Windows of the fixed image, 15 voxels along each axis, (B, *S, *15).
        far: Those of the moving image, 19 voxels along each axis.
        spread: Windows of the standard deviation around each voxel of the moving image, 15 voxels.
        centres: (N, 1 + D): which.
    """
    place = centres.unbind(1)
    one, wide, deviation = near[place], far[place], spread[place]
    dim, size = one.ndim - 1, 2 * AROUND + 1
    start = (SIDE - size) // 2
    middle = one[(slice(None), *(slice(start, start + size),) * dim)]
    voxels = tuple(range(1, dim + 1))
    middle = middle - middle.mean(voxels, keepdim=True)
    length = middle.square().sum(voxels, keepdim=True).sqrt()
    middle = middle / length.clamp_min(FLAT * size ** (dim / 2))
    convolve = F.conv3d if dim == 3 else F.conv2d
    # every patch with a kernel of its own; its mean is 0, so that of the other has no say
    alike = convolve(wide[None], middle[:, None], groups=len(wide))[0]
    alike = alike / (size ** (dim / 2) * deviation.clamp_min(FLAT))
    inner = (slice(None), *(slice(AROUND, AROUND + SIDE),) * dim)
    other = wide[inner]
    # from about -1 to 1, as the map is; the level of a patch says nothing
    both = [2 * (grey - grey.mean(voxels, keepdim=True)) for grey in (one, other)]
    return torch.stack([*both, alike], 1)


def _windows(fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `seen` looks at, without copies of voxels."""
    dim, half = fixed.ndim - 2, SIDE // 2
    average = F.avg_pool3d if dim == 3 else F.avg_pool2d
    wide = F.pad(moving, (half + AROUND,) * 2 * dim, mode="replicate")
    moments = torch.cat([wide, wide.square()], 1)
    for axis in range(dim):
        moments = average(moments, [2 * AROUND + 1 if a == axis else 1 for a in range(dim)], 1)
    spread = (moments[:, 1:] - moments[:, :1].square()).clamp_min(0).sqrt()
    near = F.pad(fixed, (half,) * 2 * dim, mode="replicate")
    return (
        _around(near, SIDE),
        _around(wide, SIDE + 2 * AROUND),
        _around(spread, SIDE),
    )


def _around(volume: Tensor, side: int) -> Tensor:
    """A window at every voxel, as a view, (B, *S, *side)."""
    volume = volume[:, 0]
    for axis in range(1, volume.ndim):
        volume = volume.unfold(axis, side, 1)
    return volume

"""Sampling: the values of an image at other places. The only module that interpolates images."""

from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.interpolate import interpolate
from coincide.kernels.warp import warp, warp_linear
from coincide.space.grid import Grid, tensor
from coincide.space.image import Image
from coincide.space.shapes import Field, Points

Interpolation = Literal["linear", "nearest", "cubic", "label"]


def resample(
    image: Image,
    grid: Grid,
    displacement: Field | None = None,
    *,
    after: np.ndarray | Tensor | None = None,
    interpolation: Interpolation = "linear",
) -> Image:
    """The image seen at the displaced voxels of another grid; zero outside.

    Args:
        image: What to sample.
        grid: Where the result lies.
        displacement: (B, D, *S) on `grid`, mm; None: none.
        after: (D+1, D+1) linear map applied to the displaced positions, mm to mm; None: none.
            A tensor without a displacement keeps its gradient.
        interpolation: `linear`, differentiable, the others not; `nearest`; `cubic` (interpolating
            B-spline);
            `label`: the label with the largest linear weight, exact for every integer type.

    Returns:
        Image on `grid` whose mask is 1 where the sample lies inside `image` (times its mask).

    Raises:
        ValueError: for an unknown interpolation, or `linear` and `cubic` of an integer image.
    """
    if interpolation in ("linear", "cubic") and not image.data.is_floating_point():
        raise ValueError(
            f"{interpolation} interpolation would invent values between labels; "
            "use nearest or label, or image.float()"
        )
    slope, after = after, after.detach().cpu().numpy() if isinstance(after, Tensor) else after
    to_index = image.grid.inverse if after is None else image.grid.inverse @ after
    # the whole chain as one matrix for voxels, and one for what displaces them
    index, scale = (to_index @ grid.affine)[:-1], to_index[:-1, :-1]
    if interpolation == "linear":
        # a mask says where nothing is known, so that values need not end in an edge of zeros
        clamp = image.mask is not None
        if isinstance(slope, Tensor) and slope.requires_grad and displacement is None:
            there, here = tensor(image.grid.inverse, slope), tensor(grid.affine, slope)
            data, valid = warp_linear(
                image.data, (there @ slope @ here)[:-1], grid.shape, clamp=clamp
            )
        else:
            data, valid = warp(
                image.data, displacement, index, scale, shape=grid.shape, clamp=clamp
            )
        if image.mask is None:
            return Image(data, grid, valid.detach())
    elif interpolation in ("nearest", "cubic", "label"):
        still = None if displacement is None else displacement.detach()
        data = interpolate(image.data, still, index, scale, grid.shape, interpolation)
    else:
        raise ValueError(
            f"no interpolation is called {interpolation!r}; known: linear, nearest, cubic, label"
        )
    if image.mask is None:
        weight = torch.ones_like(image.data[:, :1], dtype=torch.float32)
    else:
        weight = image.mask.to(torch.float32)
    still = None if displacement is None else displacement.detach()
    # the weight is not clamped: beyond the image it is zero
    valid, _ = warp(weight, still, index, scale, shape=grid.shape)
    return Image(data, grid, valid)


def sample(image: Image, points: Points, *, clamp: bool = False) -> tuple[Points, Points]:
    """Linear samples of an image at world points.

    Args:
        image: Floating-point image of C channels.
        points: (B, P, D) world positions, mm.
        clamp: Continue the border value outside instead of giving zero.

    Returns:
        Values (B, P, C) and whether each point is inside (B, P, 1).
    """
    batch, count, dim = points.shape
    inverse = image.grid.inverse
    at = np.concatenate([np.zeros((dim, dim)), inverse[:-1, -1:]], 1)
    # the points are the displacement of one row of voxels that all start at the world's origin
    row = points.transpose(1, 2).reshape(batch, dim, *(1,) * (dim - 1), count)
    data = image.data.to(row.dtype)
    values, inside = warp(data, row, at, inverse[:-1, :-1], clamp=clamp)
    flat = values.reshape(batch, -1, count).transpose(1, 2)
    return flat, inside.reshape(batch, -1, count).transpose(1, 2)


def sample_slope(image: Image, points: Points) -> Tensor:
    """Derivative of the linear samples of an image by where they are taken.

    Between two voxels the image changes by their difference; on a voxel, by that to the next.

    Args:
        image: Floating-point image of C channels.
        points: (B, P, D) world positions, mm.

    Returns:
        (B, P, C, D), per mm; differentiable in image and points, zero outside.
    """
    own, batch = image.grid, max(len(points), len(image.data))
    points = points.expand(batch, *points.shape[1:])
    index = tensor(own.inverse, points)
    position = points @ index[:-1, :-1].T + index[:-1, -1]
    size = torch.tensor(own.shape, dtype=points.dtype, device=points.device)
    # ITK's border: the outermost values continue for half a voxel, beyond it there is nothing
    inside = ((position - (size - 1) / 2).abs() <= size / 2).all(-1, keepdim=True)
    # beyond the outermost centres the value is held, and does not change with the position
    free = (position >= 0) & (position <= size - 1) & (size > 1) & inside
    low = torch.minimum(position.detach(), size - 2).clamp_min(0).floor()
    fraction = position.clamp_min(0).minimum(size - 1) - low
    low = low.long()  # a flat address may be too large for a float32
    channels = image.data.shape[1]
    flat = image.data.flatten(2).expand(batch, -1, -1)
    columns = [points.new_zeros(batch, points.shape[1], channels) for _ in own.shape]
    for corner in product((0, 1), repeat=own.dim):
        address = torch.zeros_like(low[..., 0])
        for axis, (up, n) in enumerate(zip(corner, own.shape, strict=True)):
            address = address * n + (low[..., axis] + up).clamp_max(n - 1)
        value = flat.gather(2, address[:, None].expand(-1, channels, -1)).transpose(1, 2)
        value = value.to(points.dtype)
        for axis, up in enumerate(corner):
            # a sign along the axis of the derivative, interpolation along the others
            weight = torch.full_like(points[..., :1], 1.0 if up else -1.0)
            for other, there in enumerate(corner):
                part = fraction[..., other, None]
                weight = weight if other == axis else weight * (part if there else 1 - part)
            columns[axis] = columns[axis] + weight * value
    slope = torch.stack(columns, -1) * free[..., None, :]
    return slope @ index[:-1, :-1]

"""Sampling: the values of an image at other places. The only module that interpolates images."""

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

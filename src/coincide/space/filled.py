"""Filled: an image whose masked-out voxels continue what lies inside the mask."""

import torch

from coincide.kernels.smooth import gaussian
from coincide.space.image import Image
from coincide.space.sampling import resample

LEAST = 1e-4  # smoothed weight below which a mean is left to a coarser grid


def filled(image: Image) -> Image:
    """The image with voxels of weight zero replaced by means of what is inside and near.

    What a mask leaves out must not count, yet interpolation and features look at neighbours. A
    filled voxel shows them nothing of its own. Means are taken on ever coarser grids, so that
    those far from the mask find something too.

    Args:
        image: (B, C, *S); without a mask, or of an integer type, it is returned as it is.

    Returns:
        The same voxels where the mask is above zero, and the same mask.
    """
    if image.mask is None or not image.data.is_floating_point():
        return image
    outside = image.mask <= 0
    if not bool(outside.any()):
        return image
    weight, grid = image.weight(), image.grid
    # whatever stands outside, NaN included, must not meet a weight of zero in a product
    data = torch.where(outside, 0, image.data)
    factors = [2 if n > 2 else 1 for n in grid.shape]
    # nothing is left to be made coarser: all that is known of the image has one mean
    if max(factors) == 1:
        mean = Image(data, grid, weight).average()
        return image.with_data(torch.where(outside, mean, data))
    coarse = grid.shrink(factors)
    sigma = [1.0 if f > 1 else 0.0 for f in factors]
    # normalised convolution: smooth what counts and its weight alike, then divide
    total, mass = (
        resample(Image(gaussian(part, sigma), grid), coarse).data
        for part in (weight * data, weight)
    )
    known = (mass > LEAST).to(mass.dtype)
    small = filled(Image(known * total / mass.clamp_min(LEAST), coarse, known * mass))
    # with a mask the border value goes on to the outermost voxels
    around = resample(small.with_mask(torch.ones_like(mass)), grid).data
    return image.with_data(torch.where(outside, around, data))

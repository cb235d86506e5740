"""Pyramid: the same image, coarser."""

import torch

from coincide.kernels.smooth import gaussian
from coincide.space.filled import LEAST, filled
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample


def at(image: Image, grid: Grid) -> Image:
    """The image smoothed for, and sampled on, a grid at least as coarse as its own.

    The Gaussian has half a voxel of the coarse grid as standard deviation along every axis that
    is really made coarser. Inside a mask smoothing and sampling are one normalised convolution, and
    voxels that the mask leaves out continue what is inside; see `filled`. Of a label map, which
    cannot be smoothed, a voxel keeps the label that prevails about its centre.
    """
    if not image.data.is_floating_point():
        voted = image if grid == image.grid else resample(image, grid, interpolation="label")
        return voted if image.mask is not None else voted.with_mask(None)
    if grid == image.grid:
        return filled(image)
    ratio = grid.spacing / image.grid.spacing
    sigma = [0.5 * float(r) if r > 1.5 else 0.0 for r in ratio]
    if image.mask is None:
        smooth = image.with_data(gaussian(image.data, sigma))
        return resample(smooth, grid).with_mask(None)
    weight = image.weight()
    # what the mask leaves out may be NaN, and must not meet a weight of zero in a product
    data = torch.where(image.mask > 0, image.data, 0)
    total, mass = (
        resample(Image(gaussian(part, sigma), image.grid), grid).data
        for part in (weight * data, weight)
    )
    known = (mass > LEAST).to(mass.dtype)
    return filled(Image(known * total / mass.clamp_min(LEAST), grid, known * mass))

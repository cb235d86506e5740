"""Local: an image without what changes slowly in it, its brightness and its contrast."""

import numpy as np
from torch import Tensor

from coincide.kernels.smooth import gaussian
from coincide.space.image import Image

FEWEST = 1.0  # voxels that the Gaussian reaches at least; a narrower one would see no spread


def locally_standardised(image: Image, sigma: float, floor: float) -> Image:
    """Every channel minus its Gaussian mean, over its Gaussian standard deviation.

    Only what the mask covers has a say.

    Args:
        image: (B, C, *S).
        sigma: Standard deviation of the Gaussian, mm; at least a voxel.
        floor: Variance, as a fraction of the whole image's, that is added to the local one.
    """
    whole = image.standardised()
    weight = whole.weight()
    width = np.maximum(sigma / image.grid.spacing, FEWEST).tolist()
    # far outside the mask nothing is known, and does not count
    mass = gaussian(weight, width).clamp_min(1e-6)

    def mean(values: Tensor) -> Tensor:
        return gaussian(weight * values, width) / mass

    middle = mean(whole.data)
    spread = (mean(whole.data.square()) - middle.square()).clamp_min(0)
    return whole.with_data((whole.data - middle) / (spread + floor).sqrt())

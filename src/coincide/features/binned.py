"""Binned: intensities counted in histogram bins."""

from coincide.features.channels import apart
from coincide.space.image import Image


def binned(image: Image, bins: int) -> Image:
    """Intensities from their least to their largest value on [2, bins - 2], (B, C, *S).

    Two bins on each side stay free for the B-spline window, as in Mattes et al. (2003).
    The range is that of each channel inside the mask, fixed before any warping.

    Raises:
        ValueError: if fewer than 8 bins are asked for.
    """
    if bins < 8:
        raise ValueError(f"histograms need 8 bins or more; got {bins}")
    low, high = apart(image).range()
    shape = (*image.data.shape[:2], *(1,) * image.dim)
    # a constant channel falls into one bin and divides nothing by zero
    scale = (bins - 4) / (high - low).clamp_min(1e-12)
    return image.with_data((image.data - low.view(shape)) * scale.view(shape) + 2)

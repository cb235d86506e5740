"""Binned: intensities counted in histogram bins."""

from coincide.space.image import Image


def binned(image: Image, bins: int) -> Image:
    """Intensities from their least to their largest value on [2, bins - 2], (B, 1, *S).

    Two bins on each side stay free for the B-spline window, as in Mattes et al. (2003).
    The range is that of the image inside its mask, fixed before any warping.

    Raises:
        ValueError: if the image has several channels, or fewer than 8 bins are asked for.
    """
    if image.data.shape[1] != 1 or bins < 8:
        raise ValueError(
            f"histograms need one channel and 8 bins or more; got {image.data.shape[1]} channels "
            f"and {bins} bins"
        )
    low, high = image.range()
    shape = (-1, *(1,) * (image.dim + 1))
    scale = (bins - 4) / (high - low).clamp_min(1e-12)
    return image.with_data((image.data - low.view(shape)) * scale.view(shape) + 2)

"""Channels: what is made of one channel, made of each."""

from collections.abc import Callable

from torch import Tensor

from coincide.space.image import Image
from coincide.space.shapes import PerPair


def apart(image: Image) -> Image:
    """Every channel as an image of its own, (B C, 1, *S), pair by pair."""
    count = image.data.shape[1]
    if count == 1:
        return image
    # channels of one pair follow each other, so each mask is repeated, not the row of masks
    mask = None if image.mask is None else image.mask.repeat_interleave(count, 0)
    return Image(image.data.flatten(0, 1)[:, None], image.grid, mask)


def of_each(image: Image, make: Callable[[Image], Tensor]) -> Image:
    """Features of every channel, one behind the other, (B, C K, *S).

    Args:
        image: (B, C, *S).
        make: From images of one channel, (N, 1, *S), to features (N, K, *S).
    """
    features = make(apart(image))
    return image.with_data(features.reshape(len(image.data), -1, *features.shape[2:]))


def mean_of_each(
    fixed: Image, warped: Image, compare: Callable[[Image, Image], PerPair]
) -> PerPair:
    """Mean over channels of what compares images of one channel, (B,)."""
    return compare(apart(fixed), apart(warped)).view(len(warped.data), -1).mean(1)

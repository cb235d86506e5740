"""Mask: where an image counts, from a mask on any grid."""

import torch

from coincide.space.image import Image
from coincide.space.sampling import resample


def with_mask(image: Image, mask: Image, name: str) -> tuple[Image, tuple[str, ...]]:
    """The image limited to a mask, resampled by world position where its grid differs.

    Args:
        image: (1, C, *S); voxels it already leaves out stay out.
        mask: (1, 1, *M); above 0 counts.
        name: What to call the mask in errors.

    Returns:
        The image with its mask, and notes for a person.

    Raises:
        ValueError: if the mask has another dimension, is empty, or lies outside the image.
    """
    if mask.dim != image.dim:
        raise ValueError(f"{name} has {mask.dim} axes, its image {image.dim}")
    inside = mask.with_data((mask.data > 0).float()).with_mask(None)
    if not bool(inside.data.any()):
        raise ValueError(f"{name} is empty; give a mask with voxels above 0, or none")
    notes: tuple[str, ...] = ()
    if inside.grid != image.grid:
        inside = resample(inside, image.grid, interpolation="nearest")
        notes = (f"{name} lies on another grid; it was resampled by world position",)
        if not bool(inside.data.any()):
            raise ValueError(
                f"{name} does not overlap its image in the world; check that both are in the "
                "same space (coincide inspect shows where they lie)"
            )
    weight = inside.data[:, :1].float()
    if image.mask is not None:
        weight = torch.minimum(weight, image.mask.float())
    return image.with_mask(weight), notes

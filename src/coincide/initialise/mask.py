"""Mask: where an image counts, from a mask on any grid."""

import torch

from coincide.space.image import Image
from coincide.space.sampling import resample


def with_mask(
    image: Image, mask: Image, name: str, *, exclude: bool = False
) -> tuple[Image, tuple[str, ...]]:
    """The image limited to a mask, resampled by world position where its grid differs.

    Args:
        image: (1, C, *S); voxels it already leaves out stay out.
        mask: (1, 1, *M); values that all lie in [0, 1] are weights, of any other those above 0
            count in full.
        name: What to call the mask in errors.
        exclude: Whether the mask says what does not count, such as a lesion.

    Returns:
        The image with its mask, and notes for a person.

    Raises:
        ValueError: if the mask has another dimension, is empty, lies outside the image, or leaves
            nothing of it.
    """
    if mask.dim != image.dim:
        raise ValueError(f"{name} has {mask.dim} axes, its image {image.dim}")
    values = mask.data[:, :1].float()
    # such values are labels, not weights
    if float(values.min()) < 0 or float(values.max()) > 1:
        values = (values > 0).float()
    inside = mask.with_data(values).with_mask(None)
    notes: tuple[str, ...] = ()
    if not bool(inside.data.any()):
        if not exclude:
            raise ValueError(f"{name} is empty; give a mask with voxels above 0, or none")
        notes = (f"{name} is empty: nothing was excluded",)
    elif inside.grid != image.grid:
        # linear interpolation would make a mask of zeros and ones soft at its edge
        soft = bool(((values > 0) & (values < 1)).any())
        inside = resample(inside, image.grid, interpolation="linear" if soft else "nearest")
        notes = (f"{name} lies on another grid; it was resampled by world position",)
        if not bool(inside.data.any()):
            raise ValueError(
                f"{name} does not overlap its image in the world; check that both are in the "
                "same space (coincide inspect shows where they lie)"
            )
    weight = inside.data if inside.grid == image.grid else torch.zeros_like(image.data[:, :1])
    weight = 1 - weight.float() if exclude else weight.float()
    if image.mask is not None:
        # what either of the two leaves out stays out
        weight = torch.minimum(weight, image.mask.float())
    if not bool((weight > 0).any()):
        raise ValueError(f"{name} leaves nothing of its image; give one that covers less")
    return image.with_mask(weight), notes

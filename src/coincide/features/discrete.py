"""Discrete: features that jump where intensities change, and so have no gradient."""

from coincide.space.image import Image


def refuse_gradient(image: Image, asking: str) -> None:
    """Say that no gradient reaches the image, where one is wanted.

    Args:
        image: What discrete features are made of.
        asking: Who makes them, such as `overlap`.

    Raises:
        ValueError: if the image needs a gradient.
    """
    if image.data.requires_grad:
        raise ValueError(
            f"{asking} compares labels, which jump where intensities change: it gives no gradient "
            "to its images, only to the transform; detach them, or compare the soft probabilities "
            "of each label, one channel each, by mse"
        )

"""Gradients: edges of an image, as feature images."""

import torch
from torch import Tensor

from coincide.features.channels import of_each
from coincide.space.filled import filled
from coincide.space.image import Image
from coincide.transforms.jacobian import gradient


def edge_tensor(image: Image, eta: float) -> Image:
    r"""Entries of $n n^\top$ with $n = \nabla I / \sqrt{|\nabla I|^2 + \varepsilon^2}$.

    The border of a mask is no edge: outside it the image is filled from inside.

    Args:
        image: (B, C, *S) intensities.
        eta: $\varepsilon$ as a fraction of the mean gradient magnitude of a channel where there is
            any.

    Returns:
        (B, C D(D+1)/2, *S); off-diagonal entries carry √2, so that squared differences of the
        channels sum to the Frobenius norm.
    """
    return of_each(image, lambda one: _edges(one, eta))


def _edges(image: Image, eta: float) -> Tensor:
    """Entries for images of one channel."""
    slope = gradient(filled(image).data, image.grid)[:, 0]
    size = slope.square().sum(1, keepdim=True)
    # empty background would lower the mean, and the more the larger the field of view
    weight = image.weight().to(size.dtype) * (size > 0)
    voxels = tuple(range(1, size.ndim))
    mean = (weight * size.sqrt()).sum(voxels) / weight.sum(voxels).clamp_min(1)
    # an image without any edge must not divide by zero
    noise = (eta * mean).clamp_min(1e-8).view(-1, *(1,) * (size.ndim - 1))
    normal = slope / (size + noise**2).sqrt()
    entries = [
        normal[:, a] * normal[:, b] * (1 if a == b else 2**0.5)
        for a in range(image.dim)
        for b in range(a, image.dim)
    ]
    return torch.stack(entries, 1)


def edge_strength(image: Image) -> Image:
    r"""Gradient magnitude $|\nabla I|$ of every channel, intensity per mm, (B, C, *S)."""
    return image.with_data(gradient(filled(image).data, image.grid).square().sum(2).sqrt())

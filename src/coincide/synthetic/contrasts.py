"""Contrasts: the same anatomy as another modality might show it."""

import numpy as np
import scipy
import torch

from coincide.space.image import Image
from coincide.synthetic.waves import smooth

KNOTS = 7
SHARES = (0.0, 0.12, 0.35, 0.6, 0.85, 1.0)  # of the brightness of a T1-weighted image, air first
HEIGHTS = (0.0, 1.0, 0.8, 0.6, 0.35, 0.3)  # the brightness of fluid, grey and white matter in T2


def remap(image: Image, *, seed: int = 0, bias: float = 0.2, noise: float = 0.04) -> Image:
    """A pseudo second modality: other grey values, uneven illumination, noise.

    The grey values go through a smooth curve that rises and falls, so that neither equal nor
    linearly related intensities are left; the darkest value stays dark, as air does.

    Args:
        image: Floating-point image.
        seed: Which curve, illumination and noise.
        bias: Largest relative change of brightness by the illumination, >= 0.
        noise: Standard deviation of the noise, as a fraction of the intensity range, >= 0.

    Returns:
        Image on the same grid with the same mask, without noise within [0, 1 + bias].

    Example:
        >>> from coincide.synthetic.contrasts import remap
        >>> from coincide.synthetic.phantoms import textured
        >>> t2 = remap(textured((16, 16)).image, seed=1, noise=0)
        >>> t2.data.shape
        torch.Size([1, 1, 16, 16])
    """
    random = np.random.default_rng(seed)
    data = image.data.detach().cpu().numpy().astype(np.float64)
    low, high = data.min(), data.max()
    share = (data - low) / max(high - low, 1e-12)
    heights = np.concatenate([[0.0], _wandering(random)])
    curve = scipy.interpolate.PchipInterpolator(np.linspace(0, 1, KNOTS), heights)
    return _taken(image, curve(share), bias, noise, random)


def pseudo_t2(image: Image, *, seed: int = 0, bias: float = 0.2, noise: float = 0.04) -> Image:
    """A pseudo T2-weighted brain from a T1-weighted one without skull.

    The darker, the brighter: fluid, grey matter, white matter; but air stays dark, so that the
    grey values rise first and then fall.

    Args:
        image: Floating-point image; its lowest value is taken for air.
        seed: Which illumination and noise.
        bias: Largest relative change of brightness by the illumination, >= 0.
        noise: Standard deviation of the noise, as a fraction of the intensity range, >= 0.

    Returns:
        Image on the same grid with the same mask, without noise within [0, 1 + bias].

    Example:
        >>> from coincide.synthetic.contrasts import pseudo_t2
        >>> from coincide.synthetic.phantoms import textured
        >>> t2 = pseudo_t2(textured((16, 16)).image, noise=0)
        >>> bool(t2.data.min() == 0)
        True
    """
    data = image.data.detach().cpu().numpy().astype(np.float64)
    low = data.min()
    content = data[data > low]
    high = np.quantile(content, 0.995) if content.size else low
    share = np.clip((data - low) / max(high - low, 1e-12), 0, 1)
    curve = scipy.interpolate.PchipInterpolator(SHARES, HEIGHTS)
    return _taken(image, curve(share), bias, noise, np.random.default_rng(seed))


def _taken(
    image: Image, brightness: np.ndarray, bias: float, noise: float, random: np.random.Generator
) -> Image:
    """The image of that brightness, with uneven illumination and noise."""
    light = smooth(image.grid, sigma=float(image.grid.extent.max()) / 3, channels=1, random=random)
    light = light / max(float(np.abs(light).max()), 1e-12)
    result = brightness * (1 + bias * light)
    result = result + noise * random.standard_normal(result.shape)
    return image.with_data(torch.from_numpy(result.astype(np.float32)).to(image.data.device))


def _wandering(random: np.random.Generator) -> np.ndarray:
    """Heights between 0.2 and 1 in an order that turns at least twice."""
    heights = np.linspace(0.2, 1.0, KNOTS - 1)
    while True:
        order = random.permutation(heights)
        if np.count_nonzero(np.diff(np.sign(np.diff(order)))) >= 2:
            return order

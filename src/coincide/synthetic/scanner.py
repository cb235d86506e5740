"""Scanner: what an imaging device might show of a label map or of an image, in any contrast."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.kernels.smooth import gaussian
from coincide.networks.intensity import normalised
from coincide.synthetic.noise import noise, uniform, whole

KNOTS = 256  # of a curve of intensities


def painted(labels: Tensor, random: torch.Generator, texture: Tensor) -> Tensor:
    """Grey values for labels (X, Y, Z), from 0 to about 1: a random mean each, with texture.

    Args:
        labels: Whole numbers.
        random: Which contrast.
        texture: Smooth noise of the anatomy, (X, Y, Z), which each structure shows to its own
            degree.
    """
    count = int(labels.max()) + 1
    mean = torch.rand(count, generator=random)
    depth = 0.12 * torch.rand(count, generator=random) ** 2
    return mean[labels] + depth[labels] * texture


def curved(image: Tensor, random: torch.Generator) -> Tensor:
    r"""The image with its grey values, 0 to 1, through a random curve, half of the time inverted.

    A cubic Bézier curve, $B(t) = \sum_i \binom{3}{i} (1-t)^{3-i} t^i P_i$ from (0, 0) to (1, 1)
    with two random points between, which only rises; inverted, it only falls.

    References:
        Zhou et al. (2021), "Models Genesis", doi:10.1016/j.media.2020.101840.
    """
    x, y = torch.rand(2, 2, generator=random).sort(1).values
    t = torch.linspace(0, 1, KNOTS)
    weight = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
    along = weight[0] * x[0] + weight[1] * x[1] + weight[2]
    value = weight[0] * y[0] + weight[1] * y[1] + weight[2]
    if uniform(random, 0, 1) < 0.5:
        value = value.flip(0)
    place = torch.searchsorted(along, image.clamp(0, 1).contiguous()).clamp(1, KNOTS - 1)
    left, right = along[place - 1], along[place]
    share = ((image.clamp(0, 1) - left) / (right - left).clamp_min(1e-6)).clamp(0, 1)
    return value[place - 1] + share * (value[place] - value[place - 1])


def scanned(image: Tensor, random: torch.Generator) -> Tensor:
    """What a device makes of a noiseless image (X, Y, Z): blur, bias, noise, thick slices, a cut.

    Returns:
        (X, Y, Z), from 0 to 1 between its quantiles; see `normalised`.
    """
    a, b, c = image.shape
    shape = (1, a, b, c)
    sigma = [uniform(random, 0, 0.9) if n > 1 else 0.0 for n in image.shape]
    image = gaussian(image[None, None], sigma)[0, 0]
    image = image * (uniform(random, 0, 0.4) * noise(shape, 3, random)[0]).exp()
    if uniform(random, 0, 1) < 0.3:
        image = _thick(image, random)
    grain = uniform(random, 0, 1) ** 2 * 0.08 * float(image.std().clamp_min(1e-3)) / 0.25
    image = image + grain * torch.randn(image.shape, generator=random)
    if uniform(random, 0, 1) < 0.15:
        image = _cut(image, random)
    return normalised(image)


def _thick(image: Tensor, random: torch.Generator) -> Tensor:
    """Means over two or three voxels along one axis, drawn out again."""
    axis, factor = whole(random, 0, 3), whole(random, 2, 4)
    shape = list(image.shape)
    if shape[axis] < 2 * factor:
        return image
    shape[axis] = -(-shape[axis] // factor)
    thick = F.interpolate(image[None, None], shape, mode="area")
    return F.interpolate(thick, image.shape, mode="trilinear", align_corners=False)[0, 0]


def _cut(image: Tensor, random: torch.Generator) -> Tensor:
    """Nothing beyond a plane."""
    axis = whole(random, 0, 3)
    n = image.shape[axis]
    kept = int(n * uniform(random, 0.6, 0.95))
    keep = torch.arange(n) < kept if uniform(random, 0, 1) < 0.5 else torch.arange(n) >= n - kept
    return image * keep.view([-1 if d == axis else 1 for d in range(3)])

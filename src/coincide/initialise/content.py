"""Content: which part of an image shows something, and its robust intensities."""

from dataclasses import dataclass

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.space.grid import Grid
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Content:
    """What was found in an image.

    Args:
        image: The image cropped to its content, intensities from 0 to 1, float32.
        inside: (B, 1, *S) 1 where the cropped image shows something.
    """

    image: Image
    inside: torch.Tensor


def content(image: Image, *, margin: float, name: str) -> Content:
    """Crop to what is not background and bring the intensities to [0, 1].

    Background lies below half of Otsu's threshold of the smoothed image. Intensities are cut at
    the 0.1 and 99.9 percentiles of the content. A mask limits both.

    Args:
        image: (1, C, *S); of several channels the mean is taken.
        margin: Added around the content on each side, mm.
        name: What to call the image in errors, such as `fixed`.

    Raises:
        ValueError: if the image is constant, or its mask is empty.
    """
    data = image.data.float()
    data = data if data.shape[1] == 1 else data.mean(1, keepdim=True)
    if image.mask is not None and not bool((image.mask > 0).any()):
        raise ValueError(f"the {name} mask is empty; give a mask with voxels above 0, or none")
    counted = data if image.mask is None else data[image.mask > 0]
    values = counted.flatten()[_some(counted.numel())].double()
    low, high = (float(q) for q in torch.quantile(values, torch.tensor([0.001, 0.999]).double()))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    if high <= low:
        raise ValueError(
            f"the {name} image is constant ({low:g} everywhere): there is nothing to register; "
            "check that the right file and frame were given"
        )
    unit = data.sub(low).div_(high - low).clamp_(0, 1)
    smooth = gaussian(unit, [min(1.0, n / 8) if n > 1 else 0.0 for n in image.grid.shape])
    threshold = 0.5 * otsu(smooth.flatten()[_some(smooth.numel())].numpy())
    inside = smooth > threshold
    if image.mask is not None:
        inside = inside & (image.mask > 0)
    few = _some(int(inside.sum()))
    high = float(torch.quantile(unit.flatten()[few][inside.flatten()[few]].double(), 0.999)) or 1.0
    found = closer(Content(Image(unit, image.grid, image.mask), inside), margin)
    brought = found.image.with_data(found.image.data.div(high).clamp_max_(1))
    return Content(brought, found.inside.float())


def closer(found: Content, margin: float) -> Content:
    """The same, cropped to its content and that margin on each side, mm; it never grows."""
    start, stop = _box(found.inside[0, 0], found.image.grid, margin)
    box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))
    return Content(found.image.crop(start, stop), found.inside[box])


def _some(count: int) -> slice:
    """About half a million of so many values; the step is odd, so that it leaves no rows out."""
    return slice(None, None, count // 500_000 | 1)


def _box(
    inside: torch.Tensor, grid: Grid, margin: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    start, stop = [], []
    strides = [max(1, n // 128) for n in grid.shape]
    few = inside[tuple(slice(None, None, s) for s in strides)].float()
    for axis, (n, stride) in enumerate(zip(grid.shape, strides, strict=True)):
        # a few stray voxels of noise do not count as content
        count = few.sum(tuple(d for d in range(grid.dim) if d != axis))
        some = torch.nonzero(count > 0.002 * count.max()).flatten() * stride
        pad = int(np.ceil(margin / grid.spacing[axis]))
        start.append(max(0, int(some[0]) - (stride - 1) - pad))
        stop.append(min(n, int(some[-1]) + stride + pad))
    return tuple(start), tuple(stop)


def otsu(values: np.ndarray, bins: int = 128) -> float:
    """Threshold in [0, 1] that separates values in [0, 1] best into two classes.

    References:
        Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    counts, edges = np.histogram(values, bins, (0, 1))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
    between = np.nan_to_num(below * above * gap**2)
    return float(edges[1:][np.argmax(between)])

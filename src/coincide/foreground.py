"""Foreground: which part of an image shows something, and its robust intensities."""

from dataclasses import dataclass

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.space.grid import Grid
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Foreground:
    """What was found in an image.

    Args:
        image: The image cropped to its foreground, intensities from 0 to 1, float32.
        mask: (B, 1, *S) 1 where the cropped image shows something.
    """

    image: Image
    mask: torch.Tensor


def foreground(image: Image, *, margin: float, name: str) -> Foreground:
    """Crop to what is not background and bring the intensities of every channel to [0, 1].

    Background lies below half of Otsu's threshold of the smoothed image, the mean of its channels.
    Intensities are cut at the 0.1 and 99.9 percentiles of the foreground. A mask limits both.

    Args:
        image: (1, C, *S).
        margin: Added around the foreground on each side, mm.
        name: What to call the image in errors, such as `fixed`.

    Raises:
        ValueError: if the image is constant, its mask is empty, or there are several.
    """
    if len(image.data) != 1:
        raise ValueError(
            f"the {name} image is a batch of {len(image.data)}; register one pair at a time, or "
            "use coincide.optimise, which takes batches"
        )
    data = image.data.float()
    if image.mask is not None and not bool((image.mask > 0).any()):
        raise ValueError(
            f"nothing of the {name} image counts: none of its voxels is a number, or "
            f"the {name} mask is empty; give a mask with voxels above 0, or none"
        )
    ranges = [_range(channel, image.mask) for channel in data.split(1, 1)]
    if all(high <= low for low, high in ranges):
        raise ValueError(
            f"the {name} image is constant ({ranges[0][0]:g} everywhere): there is nothing to "
            "register; check that the right file and frame were given"
        )
    unit = torch.cat(
        [
            # a constant channel among others becomes zero everywhere
            channel.sub(low).div_(max(high - low, 1e-30)).clamp_(0, 1)
            for channel, (low, high) in zip(data.split(1, 1), ranges, strict=True)
        ],
        1,
    )
    # less along short axes, which one voxel of smoothing would flatten
    sigma = [min(1.0, n / 8) if n > 1 else 0.0 for n in image.grid.shape]
    smooth = gaussian(unit if unit.shape[1] == 1 else unit.mean(1, keepdim=True), sigma)
    # half of it, because dark tissue may lie below the threshold between dark and bright
    inside = smooth > 0.5 * otsu(smooth.flatten()[_some(smooth.numel())].numpy())
    if image.mask is not None:
        inside = inside & (image.mask > 0)
    few = _some(int(inside.sum()))
    # the brightest of the background may be brighter than the foreground
    tops = [
        # 1 instead of 0: a channel that is dark everywhere is not divided by zero
        float(torch.quantile(channel.flatten()[few][inside.flatten()[few]].double(), 0.999)) or 1.0
        for channel in unit.split(1, 1)
    ]
    found = cropped(Foreground(Image(unit, image.grid, image.mask), inside), margin)
    top = torch.tensor(tops).view(1, -1, *(1,) * image.dim)
    brought = found.image.with_data(found.image.data.div(top).clamp_max_(1))
    return Foreground(brought, found.mask.float())


def cropped(found: Foreground, margin: float) -> Foreground:
    """The same within that margin of its foreground on each side, mm; it never grows."""
    start, stop = _box(found.mask[0, 0], found.image.grid, margin)
    box = (slice(None), slice(None), *(slice(a, b) for a, b in zip(start, stop, strict=True)))
    return Foreground(found.image.crop(start, stop), found.mask[box])


def _range(channel: torch.Tensor, mask: torch.Tensor | None) -> tuple[float, float]:
    """Robust least and largest value of one channel, or the true ones where these are equal."""
    counted = channel if mask is None else channel[mask > 0]
    values = counted.flatten()[_some(counted.numel())].double()
    low, high = (float(q) for q in torch.quantile(values, torch.tensor([0.001, 0.999]).double()))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _some(count: int) -> slice:
    """About half a million of so many values; the step is odd, so that it leaves no rows out."""
    return slice(None, None, count // 500_000 | 1)


def _box(
    inside: torch.Tensor, grid: Grid, margin: float
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    start, stop = [], []
    strides = [max(1, n // 128) for n in grid.shape]
    # a box needs no more than some 128 places along an axis
    few = inside[tuple(slice(None, None, s) for s in strides)].float()
    for axis, (n, stride) in enumerate(zip(grid.shape, strides, strict=True)):
        # a few stray voxels of noise do not count as foreground
        count = few.sum(tuple(d for d in range(grid.dim) if d != axis))
        some = torch.nonzero(count > 0.002 * count.max()).flatten() * stride
        pad = int(np.ceil(margin / grid.spacing[axis]))
        # what is not looked at may begin up to stride - 1 voxels earlier
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
    # at the ends one of the classes is empty: 0 / 0, which counts as no separation
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = total / below - (total[-1] - total) / above
    between = np.nan_to_num(below * above * gap**2)
    return float(edges[1:][np.argmax(between)])

r"""Agreement: how alike two images are after a registration, beside before and beside chance.

What is measured is the squared correlation of intensities in small windows, which is 1 where one
contrast is locally a line through the other, rising or falling, and small where they are unrelated:

$$
a = \frac{1}{|\Omega|} \int_\Omega
\frac{\mathrm{cov}_G(F, W)^2}{\mathrm{var}_G(F)\,\mathrm{var}_G(W)}
$$

with Gaussian windows G, over the foreground of the fixed image, on voxels so coarse that noise does
not count. A deformation can make two unrelated images more alike, but hardly more so than it makes
them alike to the moving image in a wrong place: the registered image displaced by a tenth of its
size, and mirrored, says what chance gives.

What it cannot see: left and right exchanged where both look alike, as in a brain; and chance where
a deformation has much freedom and few windows bear witness, as in a picture of 64 by 64 pixels.
"""

import numpy as np
import torch
from torch import Tensor

from coincide.foreground import Foreground
from coincide.kernels.smooth import gaussian
from coincide.registration import Agreement
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.space.sampling import resample
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform

ACROSS = 32  # voxels across the foreground of the fixed image: 5 mm on a head
SIGMA = 1.2  # voxels of the Gaussian window in which intensities are compared
EVEN = 1e-3  # variance in a window, of ranks from 0 to 1, that is none
DISPLACED = 0.1  # share of the size of the foreground by which the image is displaced on purpose
FEW = 64  # voxels below which nothing can be said
GAIN = 0.075  # share of what chance leaves open that must be reached
LOSS = 0.8  # share of what it was before that must be kept


def agreement(fixed: Foreground, moving: Foreground, transform: Transform) -> Agreement:
    """How alike the images are, before and after, and displaced or mirrored on purpose.

    Args:
        fixed: Foreground of the image that stays.
        moving: Foreground of the image that was mapped.
        transform: Fixed-world to moving-world points.
    """
    grid = _coarse(fixed.image.grid, ACROSS)
    one = _equalised(_grey(at(fixed.image, grid)), fixed)
    where = _shown(fixed, grid) * one.weight()
    own = moving.image.grid
    other = _equalised(_grey(at(moving.image, own.shrink(own.factors(_finest(grid))))), moving)
    with torch.no_grad():
        field = transform.displacement(grid)[:1].detach().to("cpu", torch.float32)
        still = torch.zeros_like(field)
        before, after = resample(other, grid, still), resample(other, grid, field)
        displaced = [resample(after, grid, still + _column(v)) for v in _shifts(grid)]
        mirrored = [
            resample(after, grid, mirror.displacement(grid).float())
            for mirror in _mirrors(grid, where)
        ]
        values = _alike(one.data, [before, after, *displaced, *mirrored], where)
    count = len(displaced)
    shifted, flipped = max(values[2 : 2 + count]), max(values[2 + count :])
    return Agreement(
        before=values[0],
        after=values[1],
        shifted=shifted,
        mirrored=flipped,
        gained=gained(values[0], values[1], max(shifted, flipped)),
    )


def gained(before: float, after: float, chance: float) -> bool:
    """Whether the images agree clearly better than by chance, and not clearly less than before."""
    return after - chance > GAIN * (1 - chance) and after > LOSS * before


def _alike(fixed: Tensor, warped: list[Image], where: Tensor) -> list[float]:
    """Mean squared local correlation of each image with the fixed one; 0 without overlap."""
    sigma = [SIGMA if n > 1 else 0.0 for n in fixed.shape[2:]]
    weight = torch.cat([image.weight() for image in warped])
    weight = ((weight > 0.5) & (where > 0.5)).float()
    W = torch.cat([image.data for image in warped])
    F = fixed.expand_as(W)
    mass = gaussian(weight, sigma).clamp_min(1e-3)

    def mean(values: Tensor) -> Tensor:
        return gaussian((weight * values).contiguous(), sigma) / mass

    f, w = mean(F), mean(W)
    var_f = (mean(F * F) - f * f).clamp_min(0) + EVEN
    var_w = (mean(W * W) - w * w).clamp_min(0) + EVEN
    both = mean(F * W) - f * w
    alike = weight * both.square() / (var_f * var_w)
    total = weight.flatten(1).sum(1)
    mean_alike = alike.flatten(1).sum(1) / total.clamp_min(1)
    return [float(a) if n >= FEW else 0.0 for a, n in zip(mean_alike, total, strict=True)]


def _coarse(grid: Grid, across: int) -> Grid:
    """About so many voxels across, none finer than they are."""
    axes = np.array(grid.shape) > 1
    size = float(np.exp(np.log(grid.extent[axes]).mean()))
    return grid.shrink(grid.factors(size / across))


def _finest(grid: Grid) -> float:
    return float(np.exp(np.log(grid.spacing).mean()))


def _grey(image: Image) -> Image:
    """The mean of the channels, on the CPU."""
    mask = None if image.mask is None else image.mask.cpu()
    return Image(image.data.mean(1, keepdim=True).cpu(), image.grid, mask)


def _shown(whole: Foreground, grid: Grid) -> Tensor:
    """Where an image shows something, (1, 1, *S)."""
    shown = Image(whole.mask[:, :1].float(), whole.image.grid)
    return resample(shown, grid, interpolation="nearest").data


def _equalised(image: Image, whole: Foreground) -> Image:
    """Ranks among the foreground in place of intensities, so that bone does not hide the brain."""
    ranked = image.data[_shown(whole, image.grid) > 0.5].sort().values
    if not len(ranked):
        return image
    place = torch.searchsorted(ranked, image.data.contiguous(), right=True)
    return image.with_data(place.float() / len(ranked))


def _column(vector: np.ndarray) -> Tensor:
    return torch.tensor(vector, dtype=torch.float32).view(1, -1, *(1,) * len(vector))


def _shifts(grid: Grid) -> list[np.ndarray]:
    """Along each axis, mm."""
    axes = [axis for axis, n in enumerate(grid.shape) if n > 1]
    far = DISPLACED * float(np.exp(np.log(grid.extent[axes]).mean()))
    return [far * grid.direction[:, axis] for axis in axes]


def _mirrors(grid: Grid, where: Tensor) -> list[Affine]:
    """Mirrored across a plane through the middle of the foreground, for each axis."""
    inside = torch.nonzero(where[0, 0] > 0.5).double().numpy()
    centre = grid.to_world(inside.mean(0)) if len(inside) else grid.centre
    found = []
    for axis, n in enumerate(grid.shape):
        if n > 1:
            matrix = np.eye(grid.dim + 1)
            normal = grid.direction[:, axis]
            matrix[:-1, :-1] -= 2 * np.outer(normal, normal)
            matrix[:-1, -1] = centre - matrix[:-1, :-1] @ centre
            found.append(Affine(matrix))
    return found

import numpy as np
import pytest
import torch

from coincide.kernels.labels import label_sums
from coincide.kernels.labels import numba as compiled
from coincide.kernels.labels import torch as plain
from worlds import SHAPES, noise

COUNT = 5
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype, size=3.0):
    """Random maps of different shapes, a field that leads some voxels out of view, weights."""
    shape = SHAPES[dim]
    other = tuple(n + 2 - axis for axis, n in enumerate(shape))
    fixed, moving = (
        (noise(s, seed=n, batch=2) * 1.5 + 2).round().clamp(0, COUNT).int()
        for n, s in enumerate((shape, other))
    )
    field = size * noise(shape, seed=2, sigma=1, batch=2, channels=dim, dtype=dtype)
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, :2] = 0
    random = np.random.default_rng(3)
    scale = np.eye(dim) + 0.1 * random.standard_normal((dim, dim))
    index = np.concatenate([scale, random.uniform(0, 1, (dim, 1))], 1)
    return fixed, moving, field, mask, index, scale, COUNT


def test_maps_that_lie_on_each_other_share_everything():
    fixed, _, field, mask, *_ = problem(3, torch.float64)
    sums = label_sums(fixed, fixed, 0 * field, mask, np.eye(3, 4), np.eye(3), COUNT)
    assert torch.equal(sums[:, 0], sums[:, 2])
    for label in range(COUNT):
        expected = (mask * (fixed == label)).flatten(1).sum(1)
        torch.testing.assert_close(sums[:, 1, label], expected, rtol=1e-12, atol=0)


@both_dimensions
def test_on_the_voxels_themselves_labels_have_the_slope_of_the_warp(dim):
    """Where every registration begins."""
    fixed, _, field, mask, *_ = problem(dim, torch.float64)
    still = (0 * field).requires_grad_()
    moving = fixed.roll(1, 2)
    slopes = []
    for version in (compiled, plain):
        sums = version.label_sums(
            fixed, moving, still, mask, np.eye(dim, dim + 1), np.eye(dim), COUNT
        )
        way = torch.arange(1.0, sums.numel() + 1, dtype=sums.dtype).view(sums.shape)
        slopes.append(torch.autograd.grad((way * sums).sum(), still)[0])
    assert bool(slopes[1].select(2, -1).any())
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-12)

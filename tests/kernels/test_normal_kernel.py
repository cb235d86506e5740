import numpy as np
import pytest
import torch

from coincide.kernels.normal import normal_equations
from coincide.kernels.warp import warp
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-11)], ids=["32", "64"]
)


def problem(dim, dtype, *, channels=3):
    """Two batches on different grids, a map that leaves the moving one in places, and weights."""
    random = np.random.default_rng(dim)
    shape = tuple(n - 2 for n in SHAPES[dim])
    fixed = noise(shape, seed=1, batch=2, channels=channels, dtype=dtype)
    volume = noise(SHAPES[dim], seed=2, batch=2, channels=channels, dtype=dtype)
    index = np.concatenate([np.eye(dim), np.full((dim, 1), -1.3)], 1)
    index[:, :-1] += 0.15 * random.standard_normal((dim, dim))
    mask = noise(shape, seed=3, batch=2, dtype=dtype).clamp(0, 1)
    return fixed, volume, index, mask


@both_dimensions
def test_the_cost_is_the_mean_square_where_both_images_count(dim):
    fixed, volume, index, mask = problem(dim, torch.float64)
    warped, inside = warp(volume, None, index, index[:, :-1], shape=tuple(fixed.shape[2:]))
    weight = inside * mask
    assert 0.05 < float(1 - inside.mean()) < 0.95
    squares = (weight * (warped - fixed) ** 2).flatten(1).sum(1)
    expected = (squares / weight.flatten(1).sum(1) / 3).mean()
    assert normal_equations(fixed, volume, index, mask).cost == pytest.approx(float(expected))


@both_dimensions
def test_the_gradient_is_that_of_finite_differences(dim):
    fixed, volume, index, mask = problem(dim, torch.float64)
    # within the volume the valid part does not change with the map
    index = 0.5 * index + np.concatenate([np.zeros((dim, dim)), np.full((dim, 1), 3.0)], 1)
    gradient = normal_equations(fixed, volume, index, mask).gradient
    assert np.abs(gradient).max() > 0.1
    for n in range(index.size):
        change = np.zeros(index.size)
        change[n] = 1e-6
        costs = [
            normal_equations(fixed, volume, index + sign * change.reshape(index.shape), mask).cost
            for sign in (1, -1)
        ]
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(gradient[n], rel=1e-4, abs=1e-4)


@both_dimensions
def test_the_curvature_is_that_of_a_linear_image(dim):
    # the squared difference to a ramp is quadratic in the map: a Taylor series of two terms ends
    shape = SHAPES[dim]
    ramp = sum(
        (a + 1.0)
        * torch.arange(n, dtype=torch.float64).view([-1 if d == a else 1 for d in range(dim)])
        for a, n in enumerate(shape)
    )[None, None]
    small = tuple(n - 6 for n in shape)
    fixed = noise(small, seed=4, dtype=torch.float64)
    index = np.concatenate([np.eye(dim), np.full((dim, 1), 3.0)], 1)
    mask = torch.ones_like(fixed)
    change = 0.05 * np.random.default_rng(0).standard_normal(index.shape)
    cost, gradient, curvature = normal_equations(fixed, ramp, index, mask)
    there = normal_equations(fixed, ramp, index + change, mask).cost
    step = change.reshape(-1)
    assert there == pytest.approx(cost + gradient @ step + 0.5 * step @ curvature @ step, rel=1e-10)

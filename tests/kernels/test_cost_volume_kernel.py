from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from coincide.kernels.candidates import best, spread
from coincide.kernels.cost_volume import blurred
from coincide.kernels.messages import softened


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_cost_volume_is_smoothed_over_its_cells_only():
    volume = random(7, 5, 3, 4)
    rows = gaussian_filter1d(volume.numpy(), 0.8, 0, mode="nearest", radius=3)
    expected = gaussian_filter1d(rows, 0.8, 1, mode="nearest", radius=3)
    np.testing.assert_allclose(blurred(volume.clone(), 0.8, 2).numpy(), expected, atol=1e-6)


def places(*radius):
    axes = [np.arange(-r, r + 1) for r in radius]
    grid = np.meshgrid(*axes, indexing="ij")
    return np.stack(grid, -1).reshape(-1, 3).astype(np.float32)


def test_the_best_shift_of_a_paraboloid_is_found_between_the_steps():
    place = places(3, 2, 4)
    truth = np.array([[0.3, -0.4, 1.2], [-1.7, 0.1, 2.4]], np.float32)
    costs = ((place[None] - truth[:, None]) ** 2).sum(2).reshape(2, 7, 5, 9)
    length = (place**2).sum(1)
    out = best(costs, place, length, np.zeros_like(truth), 0.0)
    np.testing.assert_allclose(out, truth, atol=1e-4)
    # pulled as strongly towards a goal: half way
    goal = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    out = best(costs, place, length, goal, 1.0)
    np.testing.assert_allclose(out, (truth + goal) / 2, atol=1e-4)


def test_the_spread_is_the_variance_under_the_weights_of_the_costs():
    place = places(2, 0, 3)
    costs = np.random.default_rng(0).random((4, len(place))).astype(np.float32)
    metric = np.array([[2, 0.3, 0.5], [0.3, 1, 0], [0.5, 0, 3]], np.float32)
    length = np.einsum("la,ab,lb->l", place, metric, place)
    out = spread(costs, place, length, metric, 0.1)
    for row, found in zip(costs, out, strict=True):
        weight = np.exp(-row.astype(float) / 0.1)
        weight /= weight.sum()
        apart = place - weight @ place
        expected = (weight * np.einsum("la,ab,lb->l", apart, metric, apart)).sum()
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 5, 3)])
@pytest.mark.parametrize("stiffness", [0.01, 0.2, 5.0])
def test_a_message_is_the_least_over_all_pairs_of_shifts(shape, stiffness):
    source = np.random.default_rng(0).random(shape).astype(np.float32)
    weights = stiffness * np.array([1, 2, 0.5], np.float32)
    out = softened(source, weights)
    index = np.stack(np.indices(shape), -1).reshape(-1, 3)
    for here in product(*(range(n) for n in shape)):
        apart = ((index - here) ** 2 * weights).sum(1)
        assert out[here] == pytest.approx((source.ravel() + apart).min(), abs=1e-5)

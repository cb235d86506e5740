"""The published recipe, against an evaluation of its formulas that shares no code."""

import numpy as np
import pytest
import torch

from coincide.objective import objective
from coincide.optimisers.idir import IDIR, continued, correlation, regularity
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.synthetic.phantoms import textured
from coincide.transforms.siren import Siren
from random_transforms import woken

POINTS = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))


def network():
    grid = textured((14, 12, 10)).image.grid
    made = Siren(width=9, depth=3, omega=4.0, unit_cube=True).on(grid)
    return woken(made, size=0.8).double()


def moved(weights, x):
    """The network in NumPy: three layers of sines, then a linear one."""
    hidden = x
    for weight, bias in weights[:-1]:
        hidden = np.sin(4.0 * (hidden @ weight.T + bias))
    weight, bias = weights[-1]
    return x + hidden @ weight.T + bias


def differences(weights):
    """Jacobian (N, 3, 3) and second derivatives (N, 3, 3, 3) of the map by differences."""
    h, steps = 1e-4, 1e-4 * np.eye(3)
    first = [(moved(weights, POINTS + s) - moved(weights, POINTS - s)) / (2 * h) for s in steps]
    second = np.empty((len(POINTS), 3, 3, 3))
    for a, s in enumerate(steps):
        for b, t in enumerate(steps):
            corners = [
                sign * other * moved(weights, POINTS + sign * s + other * t)
                for sign in (1, -1)
                for other in (1, -1)
            ]
            second[:, :, a, b] = sum(corners) / (4 * h * h)
    return np.stack(first, -1), second


@pytest.fixture(scope="module")
def derivatives():
    net = network().network
    layers = [*net.layers, net.last]
    weights = [(o.weight.detach().numpy(), o.bias.detach().numpy()) for o in layers]
    jets = net.jets(torch.tensor(POINTS), 2)
    return *differences(weights), [jet.detach() for jet in jets]


def test_the_jacobian_regulariser_is_the_mean_change_of_volume(derivatives):
    first, _, jets = derivatives
    expected = np.abs(np.linalg.det(first) - 1).mean()
    assert expected > 0.01
    assert float(regularity("jacobian", jets)) == pytest.approx(expected, rel=1e-6)


def test_the_hyperelastic_regulariser_is_that_of_the_formula(derivatives):
    first, _, jets = derivatives
    total = []
    for jacobian in first:
        slope, det = jacobian - np.eye(3), np.linalg.det(jacobian)
        cofactors = det * np.linalg.inv(jacobian).T
        area = sum(max((cofactors[:, d] ** 2).sum() - 1, 0) ** 2 for d in range(3))
        total.append(0.5 * (slope**2).sum() + area + (det - 1) ** 4 / det**2)
    assert float(regularity("hyperelastic", jets)) == pytest.approx(np.mean(total), rel=1e-6)


def test_bending_counts_the_last_mixed_derivative_once_and_divides_by_the_points_again(derivatives):
    _, second, jets = derivatives
    h = second**2
    plain = h[..., 0, 0] + h[..., 1, 1] + h[..., 2, 2]
    total = plain + 2 * h[..., 0, 1] + 2 * h[..., 0, 2] + 1 * h[..., 1, 2]
    expected = total.mean() / len(POINTS)
    found = float(regularity("bending", jets))
    assert found == pytest.approx(expected, rel=1e-4)
    right = (total + h[..., 1, 2]).mean() / len(POINTS)
    assert abs(found - right) > 0.01 * right


def test_the_correlation_is_that_of_the_whole_batch():
    random = np.random.default_rng(1)
    f, w = random.standard_normal((2, 50))
    expected = np.corrcoef(f, w)[0, 1] * 49 / 50
    assert float(correlation(torch.tensor(f), torch.tensor(w))) == pytest.approx(expected)


def test_outside_the_image_its_last_cell_is_continued():
    x = torch.arange(5.0)
    ramp = (2 * x[:, None, None] + 3 * x[None, :, None] - x[None, None]) + 1
    index = torch.tensor([[1.5, 2.25, 0.5], [-2.0, 6.5, 4.5]])
    expected = index @ torch.tensor([2.0, 3.0, -1.0]) + 1
    torch.testing.assert_close(continued(ramp, index), expected)


def test_the_loss_of_a_step_is_what_was_published():
    fixed, moving = (textured((14, 12, 10), seed=s).image for s in (1, 2))
    transform = network().float()
    weights = [
        (o.weight.detach().double().numpy(), o.bias.detach().double().numpy())
        for o in (*transform.network.layers, transform.network.last)
    ]
    rule = IDIR(regulariser="jacobian", points=10**6)
    cost, terms = rule.start(Problem(fixed, moving, transform, objective("ncc"))).step()
    # the centre of every voxel, from -1 to 1 along each axis
    axes = [np.linspace(-1, 1, n) for n in fixed.grid.shape]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    y = (moved(weights, x) + 1) * (np.array(fixed.grid.shape) - 1) / 2
    there = continued(moving.data[0, 0].double(), torch.tensor(y)).numpy()
    n = len(x)
    agree = np.corrcoef(fixed.data.numpy().ravel(), there)[0, 1] * (n - 1) / n
    assert terms["ncc"] == pytest.approx(-agree, abs=1e-5)
    assert cost == pytest.approx(-agree + 0.05 * terms["jacobian"], abs=1e-5)


def test_it_lowers_its_loss_and_moves_only_what_was_published():
    fixed = textured((20, 18, 16), seed=1).image
    moving = fixed.with_data(torch.roll(fixed.data, 1, 2))
    settings = {"objective": "ncc", "levels": (Level(0, 15, 0),)}
    for regulariser in ("jacobian", "hyperelastic", "bending", "none"):
        rule = IDIR(regulariser=regulariser, points=500, rate=1e-3)
        start = Siren(width=24, depth=3, omega=8.0, unit_cube=True)
        history = optimise(fixed, moving, start, optimiser=rule, **settings).history
        assert np.mean([s.cost for s in history[-3:]]) < history[0].cost
    with pytest.raises(ValueError, match="idir moves a siren in the unit cube, not Siren"):
        optimise(fixed, moving, "siren", optimiser=IDIR(), **settings)
    with pytest.raises(ValueError, match="minimises 'ncc', not mse"):
        optimise(fixed, moving, "siren", optimiser=IDIR(), **{**settings, "objective": "mse"})
    with pytest.raises(ValueError, match=r"no regulariser 'folds'; known: jacobian"):
        IDIR(regulariser="folds")

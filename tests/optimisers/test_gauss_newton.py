"""What Gauss-Newton promises beside what every optimiser does."""

import numpy as np
import pytest
import torch
from test_optimisers import LINEAR, error, pair

from coincide.alignment import Alignment
from coincide.objective import objective
from coincide.optimisers.gauss_newton import GaussNewton, GaussNewtonRun
from coincide.optimisers.level import Level
from coincide.optimisers.linear_map import LinearMap
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.registry import build
from coincide.synthetic.deformations import random_affine
from coincide.synthetic.phantoms import centred, textured
from worlds import oblique

SHAPES = {2: (26, 24), 3: (17, 16, 15)}
squared = pytest.mark.parametrize("cost", ["mse", "ngf", "mind", "mind_ssc", "mse + 0.5*ngf"])


def problem(dim: int, transform: str, cost: str) -> Problem:
    """Oblique images with masks under a transform that is not the identity."""
    shape = SHAPES[dim]
    grid = oblique(shape, spacing=2.0)
    fixed = textured(shape, seed=1, affine=grid.affine).image
    moving = textured(shape, seed=2, affine=grid.affine).image
    masks = [torch.ones_like(fixed.data), torch.ones_like(fixed.data)]
    masks[0][:, :, :5], masks[1][:, :, -4:] = 0.3, 0.0
    moved = build(transform).on(grid)
    random = torch.Generator().manual_seed(0)
    for parameter in moved.parameters():
        parameter.data += torch.randn(parameter.shape, generator=random).double()
    return Problem(fixed.with_mask(masks[0]), moving.with_mask(masks[1]), moved, objective(cost))


@squared
@pytest.mark.parametrize("transform", LINEAR)
@pytest.mark.parametrize("dim", [2, 3])
def test_its_cost_and_slope_are_those_of_the_objective(dim, transform, cost):
    level = problem(dim, transform, cost)
    found = GaussNewton().start(level).here
    value, terms = level.cost()
    slopes = torch.autograd.grad(value, [p for p in level.transform.parameters() if p.numel()])
    expected = torch.cat([s.reshape(-1) for s in slopes]).numpy()
    assert found.normal.cost == pytest.approx(float(value), rel=1e-5)
    assert found.values == pytest.approx(terms, rel=1e-5)
    assert np.abs(found.normal.gradient - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("transform", LINEAR)
@pytest.mark.parametrize("dim", [2, 3])
def test_the_jacobian_of_a_matrix_are_finite_differences(dim, transform):
    entries = LinearMap(problem(dim, transform, "mse"), "it")
    point, slopes = entries.point(), entries.jacobian()
    assert slopes.shape == (dim, dim + 1, len(point))
    for n in range(len(point)):
        ends = []
        for sign in (1, -1):
            entries.move(point + sign * 1e-4 * (np.arange(len(point)) == n))
            ends.append(entries.transform.numpy()[:-1])
        assert np.abs((ends[0] - ends[1]) / 2e-4 - slopes[..., n]).max() < 1e-6


@pytest.mark.parametrize("cost", ["mse", "ngf", "mind_ssc"])
@pytest.mark.parametrize("transform", ["affine", "rigid"])
def test_it_reaches_the_optimum_of_lbfgs_with_fewer_looks(cost, transform, monkeypatch):
    shape = (32, 30, 28)
    grid = centred(shape, 2.0)
    truth = random_affine(
        grid, degrees=6, shift=4, scale=0.05 if transform == "affine" else 0.0, seed=3
    )
    fixed, moving, _ = pair(shape, spacing=2.0, truth=truth, seed=3)
    looks = {"lbfgs": 0, "gauss_newton": 0}
    ask, look = Problem.cost, GaussNewtonRun._look

    def asked(self):
        looks["lbfgs"] += 1
        return ask(self)

    def looked(self, point):
        looks["gauss_newton"] += 1
        return look(self, point)

    monkeypatch.setattr(Problem, "cost", asked)
    monkeypatch.setattr(GaussNewtonRun, "_look", looked)
    found = {
        name: optimise(
            fixed,
            moving,
            transform,
            objective=cost,
            optimiser=name,
            levels=(Level(4, 60, 0), Level(0, 60, 0)),
        )
        for name in looks
    }
    costs = {name: result.history[-1].cost for name, result in found.items()}
    assert costs["gauss_newton"] == pytest.approx(costs["lbfgs"], rel=3e-3)
    assert looks["gauss_newton"] < 0.75 * looks["lbfgs"]
    errors = {n: error(r.transform, truth, grid, 4).mean() for n, r in found.items()}
    assert errors["gauss_newton"] < errors["lbfgs"] + 0.1


def test_its_cost_never_rises():
    fixed, moving, _ = pair((32, 30))
    result = optimise(
        fixed,
        moving,
        "affine",
        objective="ngf",
        optimiser="gauss_newton",
        levels=(Level(0, 40, 0),),
    )
    costs = [step.cost for step in result.history]
    assert costs == sorted(costs, reverse=True)
    final, _ = objective("ngf")(Alignment(fixed, moving, result.transform))
    assert float(final.detach()) == pytest.approx(costs[-1], rel=1e-4)


def test_no_step_is_longer_than_allowed():
    fixed, moving, _ = pair((32, 30))
    moved = build("translation").on(fixed.grid)
    run = GaussNewton(longest=0.2).start(Problem(fixed, moving, moved, objective("mse")))
    lengths = []
    for _ in range(4):
        before = run.here.point
        run.step()
        lengths.append(np.linalg.norm(run.here.point - before))
    assert max(lengths) == pytest.approx(0.2)


@pytest.mark.parametrize("cost", ["lncc", "mse + 0.1*bending", "nmi"])
def test_it_says_which_costs_it_minimises(cost):
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match=r"squared differences \(.*mse, ngf.*\), not .*use lbfgs"):
        optimise(fixed, moving, "rigid", objective=cost, optimiser="gauss_newton")


@pytest.mark.parametrize("transform", ["displacement", "bspline", "velocity"])
def test_it_says_which_transforms_it_moves(transform):
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match=r"moves linear transforms .*; use lbfgs or adam"):
        optimise(fixed, moving, transform, objective="mse", optimiser="gauss_newton")

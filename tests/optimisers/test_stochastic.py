"""What stochastic gradient descent promises beside what every optimiser does."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from test_optimisers import error, pair

from coincide.alignment import Alignment
from coincide.objective import Similarity, objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.optimisers.stochastic import Stochastic, _thinned, later
from coincide.registry import build
from coincide.space.image import Image
from coincide.synthetic.deformations import random_affine
from coincide.synthetic.phantoms import centred, textured
from worlds import image, oblique


@dataclass(frozen=True)
class Counting(Similarity):
    """The mean squared difference, which remembers how many voxels it was asked about."""

    name = "counting"
    asked: tuple[list[int], ...] = ([],)

    def __hash__(self) -> int:
        return 0

    def __str__(self) -> str:
        return self.name

    def compare(self, fixed: Image, warped: Image) -> torch.Tensor:
        self.asked[0].append(fixed.grid.voxels)
        return build("mse").compare(fixed, warped)


@pytest.mark.parametrize("size", [32, 64])
def test_a_step_looks_at_as_many_voxels_as_asked_whatever_the_size(size):
    fixed = textured((size,) * 3, spacing=64 / size).image
    moved = build("rigid").on(fixed.grid)
    counting = Counting(asked=([],))
    rule = Stochastic(samples=1000)
    run = rule.start(Problem(fixed, fixed, moved, objective(counting)))
    for _ in range(5):
        run.step()
    assert 500 < np.mean(counting.asked[0]) < 2000


@pytest.mark.parametrize("factors", [(3, 2), (2, 4)])
def test_all_lattices_together_are_the_image(factors):
    fixed = image((12, 8), seed=1)
    seen = []
    for start in itertools.product(*(range(f) for f in factors)):
        part = _thinned(fixed, start, factors)
        places = part.grid.points()[0]
        # the voxel of the image that lies where the voxel of the lattice does
        index = fixed.grid.to_index(places.numpy()).round().astype(int)
        assert np.allclose(fixed.grid.to_world(index), places.numpy())
        assert np.array_equal(fixed.numpy()[tuple(index.T)], part.numpy().reshape(-1))
        seen += [tuple(i) for i in index]
    assert sorted(seen) == list(itertools.product(range(12), range(8)))


@pytest.mark.parametrize("cost", ["mse", "ngf", "mind"])
def test_the_mean_gradient_of_all_lattices_is_that_of_the_image(cost, monkeypatch):
    shape = (16, 12, 12)
    grid = oblique(shape, spacing=2.0)
    fixed, moving = (textured(shape, seed=n, affine=grid.affine).image for n in (1, 2))
    moved = build("rigid").on(grid)
    # a small turn, so that no position lies on the rim of the valid part
    moved.parameters_mm.data += 0.3
    target = objective(cost)
    run = Stochastic(samples=shape[0] * shape[1] * shape[2] // 8).start(
        Problem(fixed, moving.with_mask(torch.ones_like(moving.data)), moved, target)
    )
    assert run.factors == (2, 2, 2)
    starts = iter([n for start in itertools.product(range(2), repeat=3) for n in start])

    class Drawn:
        def integers(self, _):
            return next(starts)

    monkeypatch.setattr(run, "random", Drawn())
    places = [run.landscape.at(run.point) for _ in range(8)]
    value, _ = target(Alignment(fixed, moving.with_mask(torch.ones_like(moving.data)), moved))
    full = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, run.landscape.parameters)])
    mean = torch.stack([place.gradient for place in places]).mean(0)
    assert np.mean([place.cost for place in places]) == pytest.approx(float(value), rel=0.02)
    assert float((mean - full).norm()) < 0.05 * float(full.norm())
    assert float((places[0].gradient - full).norm()) > 0.05 * float(full.norm())


@pytest.mark.parametrize("longest", [0.5, 2.0])
@pytest.mark.parametrize("transform", ["affine", "bspline(spacing=16)", "velocity(spacing=8)"])
def test_first_steps_move_no_voxel_much_further_than_allowed(transform, longest):
    fixed, moving, _ = pair((32, 30, 28), spacing=2.0)
    moved = build(transform).on(fixed.grid)
    rule = Stochastic(samples=3000, longest=longest, seed=1)
    run = rule.start(Problem(fixed, moving, moved, objective("mse")))
    fields = []
    for _ in range(3):
        run.step()
        with torch.no_grad():
            fields.append(run.finish().displacement(fixed.grid))
    first = float(fields[0].norm(dim=1).max())
    assert 0.2 * longest < first < 1.1 * longest
    for one, other in itertools.pairwise(fields):
        assert float((other - one).norm(dim=1).max()) < 1.25 * longest


def test_time_goes_back_while_gradients_agree():
    x = np.linspace(-1, 1, 41)
    values = [later(v) for v in x]
    assert later(0.0) == pytest.approx(0, abs=1e-12)
    assert later(1.0) == pytest.approx(1, abs=1e-3)
    assert later(-1.0) == pytest.approx(-0.8, abs=1e-3)
    assert values == sorted(values)


@pytest.mark.parametrize("cost", ["mse", "nmi", "lncc(radius=2)"])
def test_an_affine_map_is_found_from_a_tenth_of_the_voxels(cost):
    shape = (36, 34, 32)
    grid = centred(shape, 2.0)
    truth = random_affine(grid, degrees=5, shift=4, scale=0.04, seed=3)
    fixed, moving, _ = pair(shape, spacing=2.0, truth=truth, seed=3)
    found = {
        name: optimise(
            fixed, moving, "affine", objective=cost, optimiser=name, levels=(Level(0, steps, 0),)
        ).transform
        for name, steps in (("lbfgs", 40), ("stochastic(samples=3900)", 200))
    }
    start = error(build("affine").on(grid), truth, grid, 4).mean()
    errors = [error(transform, truth, grid, 4).mean() for transform in found.values()]
    assert start > 3
    assert max(errors) < 0.25 * 2.0


def test_another_seed_takes_another_way_to_the_same_place():
    fixed, moving, truth = pair((32, 30, 28))
    found = [
        optimise(
            fixed,
            moving,
            "rigid",
            objective="mse",
            optimiser=Stochastic(samples=3000, seed=seed),
            levels=(Level(0, 100, 0),),
        ).transform
        for seed in (0, 1)
    ]
    assert not torch.equal(found[0].shift, found[1].shift)
    for transform in found:
        assert error(transform, truth, fixed.grid, 4).mean() < 0.2


def test_identical_images_are_not_shaken_apart():
    fixed = textured((32, 30, 28)).image
    result = optimise(
        fixed,
        fixed,
        "affine",
        objective="nmi",
        optimiser=Stochastic(samples=3000),
        levels=(Level(0, 60, 0),),
    )
    with torch.no_grad():
        assert float(result.transform.displacement(fixed.grid).norm(dim=1).mean()) < 0.1

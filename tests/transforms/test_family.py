"""Many pairs in two networks, and an unseen pair by its code."""

import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.files.itk import read_transform, write_transform
from coincide.objective import objective
from coincide.optimisers.both_ways import Agreement, BothWays
from coincide.optimisers.cycle_sampled import CycleSampled
from coincide.optimisers.family import register_family, register_member
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.family import Family
from coincide.transforms.linear import Affine
from random_transforms import interior, woken
from worlds import oblique

SHAPE = (30, 28)
RULE = CycleSampled(points=200, regularised=30, rate=0.003, beta=0.0, gamma=0.1)
GRID = oblique((20, 22, 18), spacing=3.0)


def of_two_numbers(count: int, seed: int):
    """Pairs of anatomies of their own, each bent by a sum of the same two deformations."""
    made = []
    for number in range(count):
        random = np.random.default_rng(100 * seed + number)
        fixed = textured(SHAPE, 100 * seed + number, 1.5).image
        modes = [smooth_displacement(fixed.grid, peak=5, sigma=10, seed=s).field for s in (1, 2)]
        field = sum(
            float(a) * m.detach() for a, m in zip(random.uniform(-1, 1, 2), modes, strict=True)
        )
        truth = Displacement(field=field, grid=fixed.grid).requires_grad_(False)
        made.append((fixed, pulled(fixed, truth.inverse(), fixed.grid).with_mask(None), truth))
    return made


def error(found, truth):
    points = truth.grid.crop((5, 5), [n - 5 for n in truth.grid.shape]).points()
    with torch.no_grad():
        return float((found(points) - truth(points)).norm(dim=-1).mean())


@pytest.mark.slow
def test_an_unseen_pair_is_found_by_its_code_alone_and_better_by_all_weights():
    known, unseen = of_two_numbers(5, 1), of_two_numbers(3, 2)
    families = {
        latent: register_family(
            [(fixed, moving) for fixed, moving, _ in known],
            rule=RULE,
            levels=(Level(3, 70, 0), Level(1.5, 30, 0)),
            family=Family(known[0][0].grid, len(known), latent=latent, width=24),
        )
        for latent in (0, 4)
    }
    still = Displacement(grid=known[0][0].grid)
    before, without = (
        np.mean([error(one, truth) for *_, truth in unseen])
        for one in (still, families[0].member(0))
    )
    found = [
        register_member(families[4], fixed, moving, rule=RULE, levels=(Level(2, 30, 0),))
        for fixed, moving, _ in unseen
    ]
    by_code = np.mean([error(f, t) for f, (*_, t) in zip(found, unseen, strict=True)])
    assert by_code < 0.7 * before
    # one map for all pairs does not serve a new one
    assert by_code < 0.6 * without
    fixed, moving, truth = unseen[0]
    whole = optimise(
        fixed, moving, found[0], objective="ncc", optimiser=RULE, levels=(Level(1.5, 25, 0),)
    ).transform
    assert error(whole, truth) < max(0.3, error(found[0], truth))


def test_a_code_alone_is_moved_and_the_networks_stay():
    (fixed, moving, _), *_ = of_two_numbers(1, 3)
    family = woken(Family(fixed.grid, 2, latent=3, width=16), size=2.0)
    held = {key: values.clone() for key, values in family.state_dict().items()}
    register_member(family, fixed, moving, rule=RULE, levels=(Level(3, 4, 0),))
    assert all(torch.equal(values, held[key]) for key, values in family.state_dict().items())
    assert all(parameter.grad is None for parameter in family.parameters())


def test_the_transform_of_a_code_is_a_cycle_to_keep(tmp_path):
    family = woken(Family(GRID, 2, latent=3, width=16), size=2.0).double().requires_grad_(False)
    codes = torch.tensor([[0.2, -0.3, 0.1], [0, 0.1, 0.4]]).double()
    points = interior(GRID)
    cycles = [family.at(code) for code in codes]
    for code, cycle in zip(codes, cycles, strict=True):
        for plain, told in zip((cycle.ahead, cycle.back), family.both(code), strict=True):
            torch.testing.assert_close(plain(points), told(points), rtol=0, atol=1e-9)
            torch.testing.assert_close(
                plain.jacobian(points), told.jacobian(points), rtol=0, atol=1e-9
            )
    assert float((cycles[0](points) - cycles[1](points)).norm(dim=-1).mean()) > 0.1
    write_transform(cycles[0], tmp_path / "t.h5", grid=GRID)
    assert torch.equal(read_transform(tmp_path / "t.h5")(points), cycles[0](points))


def test_what_cannot_be_fitted_is_refused():
    (fixed, moving, _), *_ = of_two_numbers(1, 3)
    with pytest.raises(ValueError, match="one pair or more, not to 0"):
        register_family([])
    with pytest.raises(ValueError, match="the 2 pairs of its codes, not to 1"):
        register_family([(fixed, moving)], family=Family(fixed.grid, 2))
    with pytest.raises(ValueError, match="give it latent=8"):
        register_member(Family(fixed.grid, 2, latent=0), fixed, moving)
    with pytest.raises(ValueError, match="has 8 numbers, not"):
        Family(fixed.grid, 2).at(torch.zeros(3))


def test_the_gradient_of_there_and_back_is_that_of_the_whole_map():
    (fixed, moving, _), *_ = of_two_numbers(1, 3)
    ways = BothWays(Problem(fixed, moving, Affine(np.eye(3)), objective("ncc")), 50, 10, "rule")
    stretch = Affine(np.diag([1.2, 1.0, 1.0])), Affine(np.diag([1.0, 1.5, 1.0]))
    generator = torch.Generator().manual_seed(0)
    (alone, values), (both, _) = (
        ways.cost(stretch, Agreement(0.0, gamma), generator.manual_seed(0)) for gamma in (0.0, 2.0)
    )
    assert "cycle gradient" not in values
    # 0.2² + 0.5² in each direction
    assert float((both - alone).detach()) == pytest.approx(2 * 0.29, rel=1e-4)


def test_the_gradient_term_lets_the_two_agree():
    (fixed, moving, _), *_ = of_two_numbers(1, 4)
    missed = []
    for gamma in (0.0, 1.0):
        rule = CycleSampled(points=200, regularised=40, rate=0.003, beta=0.0, gamma=gamma)
        cycle = optimise(
            fixed, moving, "cycle(width=24)", objective="ncc", optimiser=rule,
            levels=(Level(1.5, 40, 0),),
        ).transform.requires_grad_(False)  # fmt: skip
        points = fixed.grid.points()
        whole = cycle.back.jacobian(cycle.ahead(points)) @ cycle.ahead.jacobian(points)
        missed.append(float((whole - torch.eye(2)).square().sum((-2, -1)).mean()))
    assert missed[1] < 0.3 * missed[0]

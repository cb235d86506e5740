"""One network for all weights of the penalties, chosen after the fit."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.files.itk import read_transform, write_transform
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registry import build
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.siren import Siren
from coincide.transforms.siren_conditional import SirenConditional
from random_transforms import interior, woken
from worlds import oblique

GRID = oblique((20, 22, 18), spacing=3.0)


def bent_pair():
    fixed = textured((40, 36), seed=2, spacing=1.5).image
    truth = smooth_displacement(fixed.grid, peak=5, sigma=12, seed=1).requires_grad_(False)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)
    return fixed, moving, fixed.grid.crop((7, 7), (33, 29)).points(), truth


def fitted(transform, objective, steps, **given):
    fixed, moving, _, _ = bent_pair()
    return optimise(
        fixed,
        moving,
        transform,
        objective=objective,
        optimiser=given.get("optimiser", "sampled(points=500, regularised=60, rate=0.002)"),
        levels=(Level(3, steps, 0), Level(1.5, steps, 0)),
    ).transform.requires_grad_(False)


@pytest.fixture(scope="module")
def slid():
    return fitted("siren_conditional(width=32)", "ncc + 1*bending", 80)


def roughness(transform, points):
    return float(
        build("bending").density(transform.jacobian(points), transform.hessian(points)).mean()
    )


def test_the_heavier_the_penalties_the_smoother_the_map(slid):
    _, _, points, truth = bent_pair()
    found = [roughness(slid.at(weight), points) for weight in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert all(np.diff(found) < 0)
    assert found[-1] < 0.7 * found[0]
    before = float((truth(points) - points).norm(dim=-1).mean())
    assert float((slid.at(0.2)(points) - truth(points)).norm(dim=-1).mean()) < 0.5 * before


@pytest.mark.slow
def test_one_fit_is_near_the_fits_of_single_weights(slid):
    _, _, points, _ = bent_pair()
    moved = float((slid.at(0.1)(points) - points).norm(dim=-1).mean())
    alone = {
        weight: fitted("siren(width=32)", f"{1 - weight}*ncc + {weight}*bending", 80)
        for weight in (0.1, 0.5, 0.9)
    }
    for weight, single in alone.items():
        gap = (slid.at(weight)(points) - single(points)).norm(dim=-1).mean()
        assert float(gap) < 0.35 * moved
    # and nearer to the fit of its own weight than an end is to the other
    apart = float((alone[0.1](points) - alone[0.9](points)).norm(dim=-1).mean())
    assert float((slid.at(0.9)(points) - alone[0.9](points)).norm(dim=-1).mean()) < apart


def test_the_transform_of_a_weight_is_a_plain_siren_to_keep(tmp_path):
    transform = woken(SirenConditional(width=16, omega=6.0).on(GRID), size=2.0).double()
    transform.requires_grad_(False)
    points, plain = interior(GRID), transform.at(0.3)
    assert type(plain) is Siren
    assert float((transform.at(0.9)(points) - plain(points)).norm(dim=-1).mean()) > 0.1
    transform.weight = 0.3
    for ask in ("__call__", "jacobian", "hessian"):
        found, expected = (getattr(one, ask)(points) for one in (plain, transform))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    write_transform(plain, tmp_path / "plain.h5", grid=GRID)
    assert torch.equal(read_transform(tmp_path / "plain.h5")(points), plain(points))
    # the plain one is no longer tied to the network that it came from
    with torch.no_grad():
        transform.network.last.bias.add_(1)
    assert float((plain(points) - transform.at(0.3)(points)).abs().min()) > 1


@pytest.mark.parametrize("activation", ["relu", "fourier"])
def test_other_activations_become_plain_too(activation):
    transform = woken(SirenConditional(16, activation=activation).on(GRID), size=2.0).double()
    points = interior(GRID)
    torch.testing.assert_close(transform.at(0.5)(points), transform(points), rtol=0, atol=1e-6)


def test_a_file_keeps_all_weights_and_which_was_shown(tmp_path):
    transform = woken(SirenConditional(width=16, weight=0.7).on(GRID)).requires_grad_(False)
    write_transform(transform, tmp_path / "t.h5", grid=GRID)
    again = read_transform(tmp_path / "t.h5")
    points = interior(GRID)
    assert again.weight == 0.7
    for weight in (0.1, 0.9):
        assert torch.equal(again.at(weight)(points), transform.at(weight)(points))


def test_where_nobody_chooses_the_objective_counts_as_it_is_written(slid):
    _, _, points, _ = bent_pair()
    assert slid.weight == 0.5  # a fit draws others and puts it back
    torch.testing.assert_close(slid(points), slid.at(0.5)(points), atol=1e-4, rtol=0)


@pytest.mark.parametrize("weight", [-0.1, 1.5])
def test_a_weight_outside_of_0_to_1_is_refused(weight):
    with pytest.raises(ValueError, match="a weight from 0 to 1"):
        SirenConditional(weight=weight)
    with pytest.raises(ValueError, match="a weight from 0 to 1"):
        SirenConditional().on(GRID).at(weight)


@pytest.mark.parametrize("optimiser", ["adam(rate=0.001)", "lbfgs"])
def test_an_optimiser_of_one_weight_refuses_it(optimiser):
    with pytest.raises(ValueError, match="use sampled, or a siren"):
        fitted("siren_conditional", "ncc + 1*bending", 2, optimiser=optimiser)

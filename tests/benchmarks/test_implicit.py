import atlas_slices
import implicit_brains
import implicit_lung
import implicit_qc as qc
import implicit_series as series
import implicit_starts as starts
import implicit_timings as timings
import implicit_warps as warps
import numpy as np
import pytest
import torch
from implicit import PARTS, main
from implicit_chest import Chest
from implicit_rows import Spent, table

import coincide as co
from coincide.foreground import foreground
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.optimiser import Optimiser
from coincide.registry import build
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.growing import growing
from coincide.synthetic.phantoms import textured
from coincide.training.atlas import AtlasRecipe
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.way import Pair


@pytest.fixture(scope="module")
def images():
    return [textured((18, 18, 18), seed=seed, spacing=2).image for seed in (1, 2)]


@pytest.fixture(scope="module")
def pair(images) -> Chest:
    shown = [foreground(image, margin=4, name="phantom") for image in images]
    points = images[0].grid.to_world(np.random.default_rng(0).uniform(5, 12, (10, 3)))
    return Chest(Pair(*shown), images[0], np.stack([points, points + 1]))


def test_nested_gradients_are_the_derivatives_that_are_carried_forward(images):
    siren = co.build("siren(width=16, omega=5.0)").on(images[0].grid)
    torch.nn.init.normal_(siren.network.last.weight, generator=torch.Generator().manual_seed(0))
    points = images[0].grid.points()[:, ::500].float()
    nested = timings.Nested(siren)
    for of in (jacobian_at, hessian_at):
        torch.testing.assert_close(of(nested, points), of(siren, points), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("regularised", [None, 0, 20])
def test_a_step_is_timed(images, regularised):
    kinds = {"points": 50, "network": "siren(width=8)", "nested": regularised == 0}
    assert timings.steps(*images, regularised=regularised, **kinds)["ms"] > 0


def test_nmi_is_timed_and_ratios_are_told(images):
    assert timings.nmi(*images, voxels=2000)["ms"] > 0
    rows = {"bending nested, all points": {"ms": 30.0}, "bending exact, 300 points": {"ms": 2.0}}
    assert timings.told(rows)["bending exact, 300 points"]["nested takes"] == 15


@pytest.mark.parametrize("maker", [starts.single, starts.cycle, starts.plain])
def test_a_start_is_followed_by_every_kind_of_fit(pair, maker):
    def few(seed):
        transform, rule, wanted = maker(seed)
        return transform, type(rule)(points=40), wanted

    (found,) = starts.fits(pair, few, [0], steps=2, spacing=4.0)
    assert 0 < pair.scored(found)["without 8 and 9"] < 20
    assert (pair.doubt(found) is None) == (maker is not starts.cycle)
    assert starts.summary([2.0, 3.5])["failed"] == "1 of 2"


def test_a_failed_fit_is_known_by_its_score():
    scores, failed = np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True])
    assert qc.auroc(scores, failed) == 1
    assert qc.auroc(-scores, failed) == 0
    assert qc.auroc(np.ones(4), failed) == 0.5
    assert np.isnan(qc.auroc(scores, np.zeros(4, bool)))
    assert abs(qc.judged(np.arange(20.0), np.arange(20) > 12, draws=300)["shuffled"] - 0.5) < 0.05


def test_phantoms_are_fitted_and_groups_judged():
    error, doubt = qc.told_of("fine", 0, 0.001, side=16, steps=2, points=40)
    assert 0 < error < 10
    assert doubt >= 0
    rows = {"lung, must agree": {"errors, mm": [1, 4], "uncertainties, mm": [0, 1], "limit, mm": 3}}
    assert qc.told(rows)["lung"]["AUROC"] == 1


def test_the_map_that_undoes_a_warp_misses_nothing(images):
    moving, truth = warps.warped(images[0], images[1], 1)
    assert moving.grid == images[0].grid
    still = smooth_displacement(images[0].grid, peak=0, sigma=20)
    assert np.median(warps.missed(still, truth, images[0])) > 0.5
    assert warps.missed(truth.inverse(), truth, images[0]).mean() < 0.1


def test_a_series_is_scored_alike_by_one_network_and_frame_by_frame(images):
    times = np.array([0.0, 1.0, 3.0])
    frames, truths = series.moved([images[0]] * 3, times)
    perfect = series.scored([t.inverse() for t in truths], truths, frames)
    assert perfect["median, mm"] < 0.1
    for how in (series.together, series.each, series.compositive):
        told = series.scored(how(frames, times, (4, 2)), truths, frames)
        assert told["kB"] > 0


@pytest.mark.parametrize("part", [implicit_lung, warps, implicit_brains])
def test_what_every_method_is_made_of_can_be_read(part):
    for transform, levels in part.METHODS.values():
        assert levels
        build(transform)
        for level in levels:
            assert isinstance(level, Level)
            objective(level.objective)
            assert isinstance(level.optimiser, Optimiser) or build(level.optimiser, Optimiser)


def test_rows_are_listed_and_become_a_table(capsys):
    for part in PARTS:
        main([part, "--list"])
    assert "one network" in capsys.readouterr().out
    with Spent() as spent:
        pass
    assert spent.told()["gb"] > 0
    assert table({"a": {"x": 1.23456, "each": [1.0, 2.0]}, "b": {"y": 2}}).count("\n") == 3


def test_an_atlas_is_compared_with_the_nearest_person():
    grown = [growing(age, n, shape=(48, 48)) for n, age in enumerate((0.1, 0.3, 0.5, 0.7, 0.9))]
    images, labels = (
        np.stack([getattr(g, kind).numpy() for g in grown]) for kind in ("image", "labels")
    )
    known, unseen = atlas_slices.divided(np.uint8(200 * images.clip(0, 1)), labels, np.arange(5))
    assert (len(known), len(unseen)) == (4, 1)
    recipe = AtlasRecipe(width=16, points=64)
    told = atlas_slices.compared(known, unseen, recipe, steps=3, looked=2)
    assert 0 <= told["atlas"][0] <= 1
    assert told["nearest"][0] > 0
    assert np.isnan(told["mean age"][0])

"""Ways one after the other: each goes on from the one before, or begins anew on top of it."""

import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.chain import as_ways, chain
from coincide.files.itk import write_transform
from coincide.foreground import foreground
from coincide.initialise.align import Align
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimise import Optimise
from coincide.penalties.inverse_consistency import InverseConsistency
from coincide.presets.preset import PRESETS, Preset, read_ways
from coincide.register import register
from coincide.registry import build
from coincide.search.convex import Convex
from coincide.space.image import Image
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.bspline import BSpline
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine, Linear
from coincide.way import Pair

LEVELS = tuple(Level(steps=n, objective="lncc(radius=2)") for n in (12, 8))
QUICK = Preset(ways="displacement", levels=LEVELS)
SEARCH = "convex(step=2, spacing=4, reach=8, levels=1)"


class Case:
    """A phantom in 2-D, and the same moved: the moving image shows at x what was at truth(x)."""

    def __init__(self, *, degrees=6.0, shift=5.0, peak=3.0, seed=0):
        phantom = textured((64, 60), seed=seed)
        self.fixed, self.labels = phantom.image, phantom.labels
        grid = self.fixed.grid
        self.affine = random_affine(grid, degrees=degrees, shift=shift, scale=0.04, seed=seed + 1)
        self.bent = smooth_displacement(grid, peak=peak, sigma=8, seed=seed + 2)
        self.truth = (self.affine @ self.bent).requires_grad_(False)
        self.moving = pulled(self.fixed, self.truth, grid).with_mask(None)
        self.moving_labels = pulled(self.labels, self.truth, grid, interpolation="label")
        where = torch.nonzero(self.labels.data[0, 0] > 0).numpy()[::5]
        self.points = torch.as_tensor(grid.to_world(where))[None]

    @property
    def start(self):
        """The linear part of the answer."""
        return self.affine.inverse()

    def error(self, transform):
        """Median distance from the truth, mm."""
        with torch.no_grad():
            return float((self.truth(transform(self.points)) - self.points).norm(dim=-1).median())


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def whole(case):
    return register(case.fixed, case.moving, "affine >> displacement", preset=QUICK)


def apart(one, other, points):
    with torch.no_grad():
        return float((one(points) - other(points)).norm(dim=-1).max())


def test_a_chain_is_its_ways_one_after_the_other(case, whole, tmp_path):
    first = register(case.fixed, case.moving, "affine")
    write_transform(first.transform, tmp_path / "t.h5")
    for initial in (first, first.transform, tmp_path / "t.h5", str(tmp_path / "t.h5")):
        second = register(case.fixed, case.moving, preset=QUICK, initial=initial)
        assert apart(second.transform, whole.transform, case.points) < 0.01
    assert case.error(whole.transform) < 0.6 * case.error(first.transform)


def test_three_ways_find_more_than_two():
    case = Case(peak=9, seed=3)
    ways = f"affine >> {SEARCH} >> displacement"
    two, three = (
        register(case.fixed, case.moving, w, preset=QUICK.with_steps(8))
        for w in ("affine >> displacement", ways)
    )
    assert case.error(three.transform) < 0.8 * case.error(two.transform)
    assert [step.stage for step in three.history if step.step == 0][-2:] == [
        "convex",
        "displacement",
    ]
    assert three.confidence is not None
    assert two.confidence is None
    assert three.margin == two.margin
    stages = ["read", "affine", "convex", "displacement", "inverse", "agreement"]
    assert list(three.seconds) == stages


def test_a_way_refines_its_own_kind_and_comes_on_top_of_any_other(case):
    settings = {"preset": QUICK, "initial": case.start}
    again = register(case.fixed, case.moving, "displacement >> displacement", **settings)
    assert [type(t) for t in again.transform] == [Affine, Displacement]
    on_top = register(case.fixed, case.moving, "bspline(spacing=12) >> displacement", **settings)
    assert [type(t) for t in on_top.transform] == [Affine, BSpline, Displacement]
    for result in (again, on_top):
        assert case.error(result.transform) < 0.5 * case.error(case.start)


def test_a_deformable_start_is_refined_or_kept(case, whole):
    one = register(case.fixed, case.moving, preset=QUICK, initial=whole)
    assert [type(t) for t in one.transform] == [Affine, Displacement]
    assert one.history[0].cost < whole.history[0].cost
    # what is not refined is kept as it was given
    field = next(t for t in whole.transform if isinstance(t, Displacement))
    kept = register(case.fixed, case.moving, "bspline(spacing=12)", preset=QUICK, initial=whole)
    assert [type(t) for t in kept.transform] == [Affine, Displacement, BSpline]
    assert torch.equal(list(kept.transform)[1].field, field.field)
    # an alignment on top of a deformation begins where that ended, and does not search
    back = register(case.fixed, case.moving, "rigid", initial=whole)
    assert [c.name for c in back.candidates] == ["given"]
    assert case.error(back.transform) < 1.2 * case.error(whole.transform) + 0.05


def test_an_alignment_goes_on_from_the_header(case):
    near = Case(degrees=3, shift=3, peak=0.5)
    result = register(near.fixed, near.moving, preset="rigid", initial="header")
    still = near.error(Affine(np.eye(3)))
    assert near.error(result.transform) < 0.5 * still
    assert len(result.history) > 0
    assert [c.name for c in result.candidates] == ["given"]
    finer = register(case.fixed, case.moving, "rigid >> affine")
    assert [s.stage for s in finer.history if s.step == 0][-1] == "affine"
    assert isinstance(finer.transform, Linear)
    assert case.error(finer.transform) < case.error(
        register(case.fixed, case.moving, "rigid").transform
    )


@pytest.mark.parametrize("kind", ["translation", "rigid", "similarity", "affine"])
def test_each_kind_of_linear_map_is_aligned_as_what_it_is(case, kind):
    result = register(case.fixed, case.moving, kind)
    assert result.transform.name == kind
    turn = result.transform.numpy()[:-1, :-1]
    if kind == "translation":
        np.testing.assert_allclose(turn, np.eye(2), atol=1e-6)
    if kind in ("rigid", "similarity"):
        scale = abs(np.linalg.det(turn)) ** 0.5
        np.testing.assert_allclose(turn @ turn.T, scale**2 * np.eye(2), atol=1e-5)
        assert (kind == "rigid") == bool(np.isclose(scale, 1, atol=1e-5))


def test_the_moving_image_is_interpolated_once(case):
    found = Convex(step=2, spacing=4, reach=8, levels=1)
    images = [foreground(i, margin=4, name=n) for i, n in ((case.fixed, "f"), (case.moving, "m"))]
    pair = Pair(*images, outer=case.start.requires_grad_(False))
    first = found(pair).transform
    under = pair.under(first)
    grid = pair.images[0].grid
    both = Composite((pair.outer, first)).requires_grad_(False)
    expected = pulled(images[1].image, both, grid, interpolation="cubic")
    assert torch.equal(under.images[1].data, expected.data)


def test_data_beside_the_images_see_the_whole_way_after_a_search(case):
    """Labels and landmarks lie in the moving world, not in that of the image brought over."""
    here = case.points[0].numpy()[::7]
    there = case.truth.inverse()(torch.as_tensor(here)[None])[0].detach().numpy()
    target = objective("lncc(radius=2) + landmarks").with_data("landmarks", here, there)
    plan = Preset(levels=(Level(steps=1, objective=target),))
    initial = {"initial": case.start, "preset": plan}
    result = register(case.fixed, case.moving, f"{SEARCH} >> bspline(spacing=12)", **initial)
    first = next(step for step in result.history if step.stage == "bspline")
    searched = register(case.fixed, case.moving, SEARCH, **initial)
    with torch.no_grad():
        found = searched.transform(torch.as_tensor(here)[None])[0].numpy()
    expected = np.linalg.norm(found - there, axis=1).mean()
    assert first.terms["landmarks"] == pytest.approx(expected, abs=0.15)


def test_a_perfect_partner_costs_nothing_also_after_a_linear_map(case):
    partner = case.truth  # leads from the moving world to the fixed one
    term = InverseConsistency(partner)
    inner = case.bent.inverse().requires_grad_(False)
    outer = case.affine.inverse().requires_grad_(False)
    # truth = affine ∘ bent, so its inverse is bent⁻¹ after affine⁻¹: as one map, or as two
    apart_from_it = optimise(
        case.fixed,
        pulled(case.moving, outer, case.fixed.grid),
        Displacement(grid=case.fixed.grid),
        objective=objective("mse") + term,
        optimiser="adam(rate=1e-9)",
        levels=(Level(0.0, 1),),
        outer=Composite((inner, outer)),
    )
    with torch.no_grad():
        points = case.fixed.grid.points()
        back = partner(inner(outer(points))) - points
    assert apart_from_it.history[0].terms["inverse_consistency"] == pytest.approx(
        float(back.square().sum(-1).mean()), rel=0.3
    )


def test_symmetric_halves_refuse_what_concerns_the_whole_map(case):
    cost = objective("mse") + InverseConsistency(case.truth)
    with pytest.raises(ValueError, match="where there is no inverse_consistency"):
        optimise(case.fixed, case.moving, "symmetric", objective=cost, optimiser="syn")


def test_only_the_chain_knows_what_a_bare_transform_means():
    levels = PRESETS["brain-mr"].levels
    align, search, bend = as_ways(read_ways("rigid >> convex >> velocity"), levels)
    assert align == Align("rigid")
    assert search == Convex()
    assert isinstance(bend, Optimise)
    # compositive moves displacements only; a velocity is moved by what suits it
    assert [level.optimiser for level in bend.levels] == ["adam(rate=0.2)"] * 3


def test_a_transform_that_holds_values_is_a_start_not_a_way(case):
    held = Displacement(grid=case.fixed.grid)
    with pytest.raises(
        ValueError, match=r"makes its Displacement anew; give the one .* as initial="
    ):
        register(case.fixed, case.moving, held)


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ("centre", "'search', 'header', a transform or a file of one; there is no file 'centre'"),
        (Affine(np.eye(4)), "has 3 axes, the images or points have 2"),
        (Affine(np.full((3, 3), np.nan)), "give one from the fixed to the moving world"),
    ],
)
def test_a_start_that_cannot_be_one_is_refused(case, initial, message):
    with pytest.raises(ValueError, match=message):
        register(case.fixed, case.moving, initial=initial)


def test_channels_are_not_averaged(case):
    flat = torch.zeros_like(case.fixed.data)
    # the mean of both channels is constant, each alone is not
    both = [
        Image(torch.cat([i.data, 1 - i.data], 1), i.grid, None) for i in (case.fixed, case.moving)
    ]
    result = register(*both, preset=QUICK, initial=case.start)
    assert case.error(result.transform) < 0.6 * case.error(case.start)
    more = Image(torch.cat([case.moving.data, flat, flat], 1), case.moving.grid)
    with pytest.raises(ValueError, match="has 2 channels and the moving image 3; give as many"):
        register(both[0], more)


def test_pairs_of_a_batch_do_not_influence_each_other(case):
    other = Case(seed=9)
    fixed, moving = (
        Image(torch.cat([getattr(c, which).data for c in (case, other)]), case.fixed.grid)
        for which in ("fixed", "moving")
    )
    for part in (
        "displacement",
        "velocity(spacing=2)",
        "rigid",
        "symmetric",
        "bspline(spacing=12)",
    ):
        levels = (Level(2.0, 8), Level(1.0, 4))
        both = optimise(fixed, moving, part, objective="lncc(radius=2)", levels=levels)
        for b, one in enumerate((case, other)):
            alone = optimise(one.fixed, one.moving, part, objective="lncc(radius=2)", levels=levels)
            with torch.no_grad():
                assert torch.equal(both.transform(case.points)[b], alone.transform(case.points)[0])


def test_a_batch_is_refused_where_one_pair_is_wanted(case):
    both = Image(torch.cat([case.fixed.data] * 2), case.fixed.grid)
    with pytest.raises(ValueError, match="the fixed image is a batch of 2; register one pair"):
        register(both, case.moving)


def test_the_chosen_start_is_the_one_that_is_named(case):
    result = register(case.fixed, case.moving, "affine")
    chosen = result.candidates[0]
    assert chosen.chosen
    assert f"affine: {chosen.name} was best" in result.details[0]
    assert result.margin > 0


def test_a_margin_compares_costs_of_one_level():
    """A body that looks the same upside down has no orientation that is better by much."""
    image = Case(seed=4).fixed
    data = image.data
    same = image.with_data((data + data.flip((2, 3))) / 2)
    doubtful = register(same, same, "rigid")
    assert abs(doubtful.margin) < 0.005
    assert any("scored almost as well (margin" in w for w in doubtful.warnings)
    clear = register(image, image, "rigid")
    assert clear.margin > 0.02
    assert not clear.warnings


def test_registering_leaves_the_threads_of_the_process_alone(case):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        register(case.fixed, case.moving, preset=QUICK, initial="header")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_chain_may_be_called_without_register(case):
    images = [foreground(i, margin=4, name=n) for i, n in ((case.fixed, "f"), (case.moving, "m"))]
    transform, founds = chain(Pair(*images), as_ways(read_ways("affine"), ()))
    assert case.error(transform) < 2
    assert founds[0].way == build("align")

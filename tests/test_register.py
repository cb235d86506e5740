"""register(): small phantoms under a known deformation come back, and bad pairs are refused."""

from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from coincide.alignment import pulled
from coincide.files.read import read_image, read_labels
from coincide.kernels.smooth import gaussian
from coincide.objective import objective
from coincide.optimisers.level import Level, filled
from coincide.presets.preset import PRESETS, Preset
from coincide.register import register
from coincide.registry import build
from coincide.scores.evaluate import evaluate
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.linear import Affine, Linear

SHORT = Preset(
    "few steps, without alignment",
    ways="displacement",
    levels=tuple(Level(steps=n, objective="lncc(radius=3)") for n in (10, 10, 5)),
)


class Case:
    """A phantom, and the same deformed: the moving image shows at x what was at truth(x)."""

    def __init__(self, shape, *, grid=None, degrees=8.0, shift=4.0, peak=2.5, seed=0):
        phantom = textured(shape, seed=seed)
        self.fixed, self.labels = phantom.image, phantom.labels
        here = self.fixed.grid
        self.affine = random_affine(here, degrees=degrees, shift=shift, scale=0.05, seed=seed + 1)
        self.truth = self.affine @ smooth_displacement(here, peak=peak, sigma=8, seed=seed + 2)
        self.truth.requires_grad_(False)
        self.moving = pulled(self.fixed, self.truth, grid or here).with_mask(None)
        where = torch.nonzero(self.labels.data[0, 0] > 0).numpy()[::5]
        self.points = torch.as_tensor(here.to_world(where))[None]

    @property
    def start(self):
        """The linear part of the answer."""
        return self.affine.inverse()

    def error(self, transform):
        """Median distance from the truth, mm."""
        with torch.no_grad():
            return float((self.truth(transform(self.points)) - self.points).norm(dim=-1).median())


def apart(one, other, points):
    with torch.no_grad():
        return (one(points) - other(points)).norm(dim=-1)


def round_trip(result, points):
    with torch.no_grad():
        back = result.inverse(result.transform(points))
    return float((back - points).norm(dim=-1).median())


@pytest.fixture(scope="module")
def case():
    return Case((32, 32, 32))


@pytest.fixture(scope="module")
def small():
    """A pair whose deformation is small enough to trust the header."""
    return Case((32, 32, 32), degrees=1, shift=1)


@pytest.fixture(scope="module")
def flat():
    return Case((64, 64))


@pytest.fixture(scope="module")
def first(small):
    return register(small.fixed, small.moving, preset=SHORT, initial="header")


def checked(case, result, limit=1.0):
    still = case.error(Affine(np.eye(case.fixed.dim + 1)))
    assert case.error(result.transform) < limit < still
    assert round_trip(result, case.points) < 0.1
    assert evaluate(result).regularity.folding_percent == 0


@pytest.mark.slow
def test_no_settings_in_3d(case):
    checked(case, register(case.fixed, case.moving))


@pytest.mark.slow
def test_no_settings_in_2d_for_another_contrast(flat):
    result = register(flat.fixed, remap(flat.moving, seed=3, noise=0.02))
    checked(flat, result)
    assert len(result.candidates) > 100


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_another_contrast_in_3d(case, noise):
    moving = remap(case.moving, seed=3, noise=noise)
    result = register(case.fixed, moving, preset="brain-multimodal", initial=case.start)
    checked(case, result)
    assert case.error(result.transform) < 0.8 * case.error(case.start)
    assert result.status.startswith("Aligned from the start that was given, then deformed; the ")
    assert result.details[0] == "affine: refined what was given"


@pytest.mark.slow
def test_identical_images_stay_in_place(flat):
    result = register(flat.fixed, flat.fixed)
    assert float(apart(result.transform, Affine(np.eye(3)), flat.points).median()) < 0.25


def test_identical_images_with_the_header_hardly_move(small):
    result = register(small.fixed, small.fixed, preset=SHORT, initial="header")
    moved = apart(result.transform, Affine(np.eye(4)), small.points)
    assert float(moved.max()) < 0.01
    assert evaluate(result).regularity.folding_percent == 0


@pytest.fixture(scope="module")
def large():
    return Case((64, 64, 64), seed=1)


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_another_contrast_is_noticed(large, seed):
    result = register(large.fixed, remap(large.moving, seed=seed, noise=0.02), initial=large.start)
    assert result.settings["levels"] == PRESETS["brain-multimodal"].to_dict()["levels"]
    assert large.error(result.transform) < 1


def test_the_same_contrast_is_noticed(large):
    result = register(large.fixed, large.moving, initial=large.start)
    assert result.settings["levels"] == PRESETS["brain-mr"].to_dict()["levels"]


@pytest.mark.parametrize("preset", ["auto", "fast"])
def test_a_small_image_is_noticed(small, preset):
    result = register(small.fixed, small.moving, preset=preset, initial="header")
    known = filled(PRESETS[preset].levels, PRESETS["small"].levels)
    assert result.settings["levels"] == [level.settings() for level in known]


@pytest.mark.parametrize("preset", ["brain-mr", "brain-multimodal", "abdomen"])
def test_a_slab_is_not_drawn_to_what_lies_beyond_it(small, preset):
    whole = small.moving
    slab = whole.crop((0, 0, 10), (*whole.grid.shape[:2], 22))
    result = register(small.fixed, slab, preset=preset, initial="header")
    at = whole.grid.to_index(small.truth.inverse()(small.points)[0].detach().numpy())
    seen = torch.as_tensor((at[:, 2] > 11) & (at[:, 2] < 20))
    with torch.no_grad():
        points = small.points[:, seen]
        error = (small.truth(result.transform(points)) - points).norm(dim=-1)
        beyond = apart(result.transform, Affine(np.eye(4)), small.points)
    assert float(error.median()) < 0.8
    assert float(beyond.max()) < 6
    assert evaluate(result).regularity.folding_percent == 0


def test_the_same_run_gives_the_same_bits(small, first):
    again = register(small.fixed, small.moving, preset=SHORT, initial="header")
    for one, other in ((first.transform, again.transform), (first.inverse, again.inverse)):
        assert torch.equal(one(small.points), other(small.points))
    assert torch.equal(first.warped.data, again.warped.data)
    assert [s.cost for s in first.history] == [s.cost for s in again.history]


def test_several_threads_may_register_at_once(small, first):
    def again(_):
        return register(small.fixed, small.moving, preset=SHORT, initial="header")

    with ThreadPoolExecutor(3) as pool:
        for result in pool.map(again, range(6)):
            assert torch.equal(result.warped.data, first.warped.data)


def test_own_preset_and_header(small, first):
    checked(small, first, limit=0.8)
    assert first.settings["preset"] == "own"
    assert [level["steps"] for level in first.settings["levels"]] == [10, 10, 5]
    levels = [s.level for s in first.history]
    assert levels == sorted(levels)
    assert levels[-1] == 2
    assert set(first.seconds) == {"read", "displacement", "inverse", "agreement"}


def test_each_level_has_its_own_objective_optimiser_and_steps(small):
    result = register(
        small.fixed,
        small.moving,
        objective="mse; lncc(radius=2)",
        optimiser=["compositive(update=3)", "compositive"],
        preset=SHORT.with_steps(12, 6),
        initial="header",
    )
    checked(small, result, limit=0.8)
    assert [(s.level, *s.terms) for s in result.history] == [
        *[(0, "mse")] * 12,
        *[(1, "lncc(radius=2)")] * 6,
    ]
    assert result.settings["levels"] == [
        {"steps": 12, "objective": "mse", "optimiser": "compositive(update=3)"},
        {"steps": 6, "objective": "lncc(radius=2)", "optimiser": "compositive"},
    ]


@pytest.mark.parametrize("given", [{"objective": "mse"}, {"optimiser": "adam"}])
def test_what_a_linear_map_would_not_heed_is_refused(small, given):
    with pytest.raises(ValueError, match="is that of a deformation, and 'rigid' optimises none"):
        register(small.fixed, small.moving, preset="rigid", initial="header", **given)


def test_a_level_without_steps_is_refused():
    with pytest.raises(ValueError, match="1 step or more, not"):
        SHORT.with_steps(10, 0)


@pytest.mark.parametrize(
    "part", ["velocity(spacing=4)", "bspline(spacing=6)", "bspline_velocity(spacing=6)"]
)
def test_other_deformations(case, part):
    result = register(case.fixed, case.moving, part, preset=SHORT, initial=case.start)
    last = [s.cost for s in result.history if s.level == 2]
    assert last[-1] < last[0]
    assert case.error(result.transform) < 0.75 * case.error(case.start)
    assert round_trip(result, case.points) < 0.15
    assert evaluate(result).regularity.folding_percent == 0


@pytest.fixture(scope="module")
def far():
    """A pair whose deformation is too large for a few steps on one level."""
    return Case((72, 72), degrees=0, shift=0, peak=9.0, seed=5)


FOUND = "convex(step=2, spacing=4, reach=12)"


@pytest.mark.parametrize("part", ["displacement", "velocity(spacing=2)"])
def test_a_search_finds_what_steps_do_not(far, part):
    settings = {"preset": SHORT.with_steps(10), "initial": far.start}
    without = register(far.fixed, far.moving, part, **settings)
    result = register(far.fixed, far.moving, f"{FOUND} >> {part}", **settings)
    assert far.error(result.transform) < 0.6 * far.error(without.transform)
    assert round_trip(result, far.points) < 0.3
    assert evaluate(result).regularity.folding_percent == 0
    assert {"convex", part.split("(")[0]} == {s.stage for s in result.history}
    assert set(result.seconds) == {"read", "convex", part.split("(")[0], "inverse", "agreement"}
    assert result.details[0].startswith("convex: 0.")
    assert result.confidence.grid.dim == 2
    assert result.settings["ways"] == str(build(f"{FOUND} >> {part}"))


@pytest.mark.parametrize("search", ["convex", "spanning_tree"])
def test_a_search_can_be_the_whole_answer(far, search):
    text = f"{search}(step=2, spacing=4, reach=12)"
    result = register(far.fixed, far.moving, text, initial=far.start)
    assert far.error(result.transform) < 1.5 < 0.5 * far.error(far.start)
    assert {s.stage for s in result.history} == {search}
    assert round_trip(result, far.points) < 0.15
    assert evaluate(result).regularity.folding_percent == 0


@pytest.mark.slow
def test_linear_presets_end_linear(flat):
    rigid = register(flat.fixed, flat.moving, preset="rigid")
    assert isinstance(rigid.transform, Linear)
    turn = rigid.transform.numpy()[:-1, :-1]
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=1e-5)
    assert round_trip(rigid, flat.points) < 1e-3
    affine = register(flat.fixed, flat.moving, "affine", initial="header")
    assert isinstance(affine.transform, Linear)
    assert affine.settings["ways"] == "affine"
    assert {step.stage for step in rigid.history + affine.history} <= {"rigid", "affine"}


def oblique(flip=1.0):
    """A grid turned by 20 degrees about k, anisotropic, one axis flipped at will."""
    c, s = np.cos(0.35), np.sin(0.35)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) * [1.0, 1.25, 1.5 * flip]
    shape = (44, 35, 24)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_another_grid(flip):
    case = Case((32, 32, 32), grid=oblique(flip))
    result = register(case.fixed, case.moving, preset=SHORT, initial=case.start)
    checked(case, result, limit=0.6)
    assert result.warped.grid == case.fixed.grid


def test_the_order_of_axes_in_the_file_does_not_matter(small, first):
    data = small.moving.numpy()[::-1].transpose(2, 0, 1)
    affine = small.moving.grid.affine.copy()
    affine[:, 3] += affine[:, 0] * (small.moving.grid.shape[0] - 1)
    affine[:, 0] *= -1
    moving = Image.from_array(data, affine[:, [2, 0, 1, 3]])
    result = register(small.fixed, moving, preset=SHORT, initial="header")
    assert float(apart(result.transform, first.transform, small.points).max()) < 0.1


@pytest.mark.slow
def test_the_order_of_axes_does_not_matter_to_the_search(flat):
    moving = Image.from_array(flat.moving.numpy().T, flat.moving.grid.affine[:, [1, 0, 2]])
    one = register(flat.fixed, flat.moving, preset="affine")
    other = register(flat.fixed, moving, preset="affine")
    assert float(apart(one.transform, other.transform, flat.points).median()) < 0.1


def test_masks_limit_what_counts(small):
    shadow = torch.zeros_like(small.fixed.data)
    shadow[..., 20:] = 1
    spoiled = small.fixed.with_data(
        small.fixed.data * (1 - shadow) + shadow * small.fixed.data.mean()
    )
    masked = spoiled.with_mask(1 - shadow)
    result = register(masked, small.moving, preset=SHORT, initial="header")
    plain = register(spoiled, small.moving, preset=SHORT, initial="header")
    index = small.fixed.grid.to_index(small.points.numpy())[0]
    inside = small.points[:, torch.as_tensor(index[:, 2] < 17)]
    with torch.no_grad():
        error = {
            name: (small.truth(r.transform(inside)) - inside).norm(dim=-1).median()
            for name, r in (("masked", result), ("plain", plain))
        }
    assert error["masked"] < 0.8
    assert error["masked"] <= error["plain"]


def test_whatever_holds_an_image(flat):
    affine = flat.fixed.grid.affine
    lps = sitk.GetImageFromArray(flat.moving.numpy().T)
    lps.SetOrigin((-affine[:2, 2]).tolist())
    lps.SetDirection([-1, 0, 0, -1])
    array = (flat.fixed.numpy(), affine)
    expected = register(flat.fixed, flat.moving, preset=SHORT, initial=flat.start)
    result = register(array, lps, preset=SHORT, initial=flat.start)
    assert float(apart(result.transform, expected.transform, flat.points).max()) < 1e-3


def test_nibabel_images(small, first):
    pair = (nib.Nifti1Image(i.numpy(), i.grid.affine) for i in (small.fixed, small.moving))
    result = register(*pair, preset=SHORT, initial="header")
    assert float(apart(result.transform, first.transform, small.points).max()) < 1e-3


def test_a_deformation_given_overrules_a_linear_preset():
    """A mean, since one seed alone may lose .02 to its last bits."""
    shares = []
    for seed in range(4):
        case = Case((64, 64), seed=seed)
        result = register(
            case.fixed, case.moving, "displacement", preset="affine", initial=case.start
        )
        assert any(step.stage == "displacement" for step in result.history)
        shares.append(case.error(result.transform) / case.error(case.start))
    assert np.mean(shares) < 0.6


def test_two_dimensions_and_three_are_refused(flat, small):
    with pytest.raises(ValueError, match="fixed image has 2 axes and the moving image 3; give two"):
        register(flat.fixed, small.fixed)


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_nothing_to_register(flat, which):
    constant = flat.fixed.with_data(torch.full_like(flat.fixed.data, 7))
    pair = (constant, flat.moving) if which == "fixed" else (flat.fixed, constant)
    with pytest.raises(ValueError, match=f"the {which} image is constant .7 everywhere"):
        register(*pair)
    empty = flat.fixed.with_mask(torch.zeros_like(flat.fixed.data))
    pair = (empty, flat.moving) if which == "fixed" else (flat.fixed, empty)
    with pytest.raises(ValueError, match=f"the {which} mask is empty; give a mask"):
        register(*pair)


@pytest.mark.parametrize("preset", ["auto", "abdomen", "affine"])
def test_no_overlap_is_refused(flat, preset):
    away = np.eye(3)
    away[0, 2] = 1000
    with pytest.raises(ValueError, match="do not overlap"):
        register(flat.fixed, flat.moving, preset=preset, initial=Affine(away))


def test_unknown_names_are_answered_with_the_known(flat):
    with pytest.raises(ValueError, match="no preset is called 'brian'; known: auto"):
        register(flat.fixed, flat.moving, preset="brian")
    with pytest.raises(ValueError, match=r"known: .*bending"):
        register(flat.fixed, flat.moving, objective="mse + 0.1*bendin", initial="header")
    with pytest.raises(TypeError, match="cannot take a dict as an image; give a path"):
        register({}, flat.moving)


@pytest.fixture(scope="module")
def blank():
    """A pair whose images show no structure inside, only its outlines and landmarks do."""
    case = Case((32, 32, 32), degrees=4, shift=3, peak=3)
    moving_labels = pulled(case.labels, case.truth, case.fixed.grid, interpolation="label")
    fixed = case.fixed.with_data(gaussian(case.fixed.data, [4.0] * 3))
    moving = pulled(fixed, case.truth, case.fixed.grid).with_mask(None)
    return case, fixed, moving, moving_labels.with_mask(None)


@pytest.mark.parametrize(
    ("part", "rule", "weight"),
    [("displacement", None, 1.0), ("velocity(spacing=3)", "adam(rate=0.1)", 0.3)],
    ids=["compositive", "adam"],  # compositive evens out the strengths of terms, adam does not
)
def test_labels_lead_where_images_show_little(blank, part, rule, weight):
    case, fixed, moving, labels = blank
    plain = objective("lncc(radius=3)")
    guided = plain + weight * objective("labels").with_data("labels", case.labels, labels)
    dice, error = [], []
    for target in (plain, guided):
        result = register(
            fixed,
            moving,
            part,
            objective=target,
            optimiser=rule,
            preset=SHORT,
            initial=case.start,
        )
        scores = evaluate(result, fixed_labels=case.labels, moving_labels=labels)
        dice.append(scores.overlap.mean_dice)
        error.append(case.error(result.transform))
        assert scores.regularity.folding_percent == 0
    assert dice[1] > dice[0] + 0.02
    assert error[1] < error[0]
    assert {level["objective"] for level in result.settings["levels"]} == {str(guided)}


@pytest.mark.parametrize(
    ("part", "rule"),
    [("displacement", None), ("bspline(spacing=6)", "adam(rate=0.2)")],
    ids=["compositive", "adam"],
)
def test_landmarks_meet_also_after_a_linear_map(blank, part, rule):
    case, fixed, moving, _ = blank
    here = case.points[:, ::25]
    with torch.no_grad():
        there = case.truth.inverse()(here)
    pair = here[0].numpy(), there[0].numpy()
    target = objective("lncc(radius=3) + 0.5*landmarks").with_data("landmarks", *pair)
    result = register(
        fixed, moving, part, objective=target, optimiser=rule, preset=SHORT, initial=case.start
    )
    still = float(apart(case.start, case.truth.inverse(), here).mean())
    left = evaluate(result, fixed_points=pair[0], moving_points=pair[1]).landmarks.tre_mean_mm
    assert left < 0.35 * still


def test_terms_without_data_are_refused_before_anything_is_done(small):
    for name in ("labels", "landmarks"):
        with pytest.raises(ValueError, match=f"the term '{name}' but was not given the {name} of"):
            register(small.fixed, small.moving, objective=f"mse + {name}")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize(
    "similarity", ["local_mi", "local_nmi", "correlation_ratio", "ssim", "edges"]
)
def test_hippocampus_by_other_similarities(real_data, similarity):
    folder = real_data / "hippocampus_t1"
    fixed, moving = (read_image(folder / f"hippocampus_{n}_T1.nii.gz") for n in ("001", "003"))
    labels = [read_labels(folder / f"hippocampus_{n}_label.nii.gz") for n in ("001", "003")]
    start = register(fixed, moving, preset="affine")
    linear = start.transform
    result = register(fixed, moving, objective=similarity, preset="small", initial=linear)
    before, after = (
        evaluate(r, fixed_labels=labels[0], moving_labels=labels[1]) for r in (start, result)
    )
    assert after.overlap.mean_dice > before.overlap.mean_dice + 0.005
    assert after.regularity.folding_percent == 0


@pytest.mark.real
@pytest.mark.slow
def test_two_phases_of_a_heart_by_huber(real_data):
    names = [f"cine0001_{phase}" for phase in ("ED", "ES")]
    fixed, moving = (read_image(real_data / "cardiac" / f"{n}_MR.nii.gz") for n in names)
    labels = [read_labels(real_data / "cardiac" / f"{n}_label.nii.gz") for n in names]
    plan = PRESETS["cardiac"].with_steps(60, 40)
    before, after = (
        evaluate(r, fixed_labels=labels[0], moving_labels=labels[1])
        for r in (
            register(fixed, moving, preset="rigid", initial="header"),
            register(fixed, moving, objective="huber", preset=plan, initial="header"),
        )
    )
    assert after.overlap.mean_dice > before.overlap.mean_dice + 0.1
    assert after.regularity.folding_percent == 0


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("beside", ["labels", "distance_map"])
def test_labels_of_a_hippocampus_take_part(real_data, beside):
    folder = real_data / "hippocampus_t1"
    fixed, moving = (read_image(folder / f"hippocampus_{n}_T1.nii.gz") for n in ("001", "003"))
    labels = [read_labels(folder / f"hippocampus_{n}_label.nii.gz") for n in ("001", "003")]
    linear = register(fixed, moving, preset="affine").transform
    target = objective("lncc(radius=3)") + build(beside).of(*labels)
    dice = [
        evaluate(
            register(fixed, moving, objective=o, preset="brain-mr", initial=linear),
            fixed_labels=labels[0],
            moving_labels=labels[1],
        ).overlap.mean_dice
        for o in ("lncc(radius=3)", target)
    ]
    assert dice[1] > dice[0] + 0.03


@pytest.mark.real
@pytest.mark.slow
def test_hippocampus(real_data):
    folder = real_data / "hippocampus_t1"
    fixed, moving = (read_image(folder / f"hippocampus_{n}_T1.nii.gz") for n in ("001", "003"))
    labels = [read_labels(folder / f"hippocampus_{n}_label.nii.gz") for n in ("001", "003")]
    start = register(fixed, moving, preset="affine", initial="header")
    result = register(fixed, moving)
    before, after = (
        evaluate(r, fixed_labels=labels[0], moving_labels=labels[1]).overlap.to_dict()["mean_dice"]
        for r in (start, result)
    )
    assert after > max(before, 0.7)

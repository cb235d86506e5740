"""What holds for every registered optimiser, and how far each gets."""

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from coincide.alignment import Alignment, pulled
from coincide.kernels.smooth import gaussian
from coincide.objective import objective
from coincide.optimisers.compositive import Compositive
from coincide.optimisers.lbfgs import LBFGS
from coincide.optimisers.level import Level
from coincide.optimisers.loop import converged, optimise
from coincide.optimisers.optimiser import Optimiser, Problem
from coincide.optimisers.settle import unfold_field, unfolded
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import centred, textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform

every_optimiser = pytest.mark.parametrize("name", parts(Optimiser))
ONE_LEVEL = (Level(0, 25, 0),)
# what an optimiser takes, where that is not every transform
LINEAR = ("affine", "rigid", "similarity", "translation")
TAKES: dict[str, tuple[str, ...]] = {
    "block_matching": LINEAR,
    "compositive": ("displacement",),
    "compositive_adam": ("displacement",),
    "cycle_sampled": ("cycle",),
    "demons": ("displacement",),
    "gauss_newton": LINEAR,
    "least_squares": ("bspline", "siren"),
    "log_demons": ("velocity",),
    "sampled": ("siren", "cycle"),  # others want another rate, as that is in their own unit
    "syn": ("symmetric",),
}
ONLY = {name: takes[0] for name, takes in TAKES.items() if len(takes) == 1}


def pair(shape=(24, 22, 20), *, spacing=1.0, truth: Transform | None = None, seed=0, blur=0.0):
    """A phantom and the same phantom moved, so that `truth` brings it back exactly."""
    fixed = textured(shape, seed, spacing).image
    fixed = fixed.with_data(gaussian(fixed.data, [blur] * len(shape)))
    if truth is None:
        matrix = np.eye(len(shape) + 1)
        matrix[:-1, -1] = np.array([1.2, -0.8, 0.6])[: len(shape)]
        truth = Affine(matrix)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped
    return fixed, moving.with_mask(None), truth


def error(found: Transform, truth: Transform, grid: Grid, margin: int) -> np.ndarray:
    """Distance between where two transforms send the inner voxels, mm."""
    small = grid.crop([margin] * grid.dim, [n - margin for n in grid.shape])
    with torch.no_grad():
        gap = found.displacement(small) - truth.displacement(small)
    return gap.norm(dim=1).flatten().numpy()


def moved(name: str) -> tuple[str, ...]:
    """Transforms to try an optimiser on: one optimiser moves all of them, the others two each."""
    if name == "lbfgs":
        # all but what is fitted for all weights of the penalties, of which it knows one
        return tuple(t for t in parts(Transform) if t != "siren_conditional")
    return TAKES.get(name, ("affine", "velocity"))[:2]


@pytest.mark.parametrize(
    ("name", "transform"), [(name, t) for name in parts(Optimiser) for t in moved(name)]
)
@pytest.mark.parametrize("shape", [(32, 30), (20, 18, 16)], ids=["2-D", "3-D"])
def test_every_optimiser_lowers_the_cost_of_every_transform_it_takes(name, shape, transform):
    fixed, moving, _ = pair(shape)
    result = optimise(
        fixed, moving, transform, objective="mse", optimiser=name, levels=(Level(0, 12, 0),)
    )
    costs = [step.cost for step in result.history]
    assert min(costs) < 0.8 * costs[0]
    # the transform that is returned is one of the good ones, not the start
    final, _ = objective("mse")(Alignment(fixed, moving, result.transform))
    assert float(final.detach()) < 0.9 * costs[0]
    assert [s.step for s in result.history] == list(range(len(costs)))


@every_optimiser
def test_two_runs_give_equal_bits(name):
    fixed, moving, _ = pair()
    found = []
    for _ in range(2):
        result = optimise(
            fixed,
            moving,
            TAKES.get(name, ("displacement",))[0],
            objective="mse" if "demons" in name else "ngf",
            optimiser=name,
            levels=(Level(2, 5, 0), Level(1, 4, 0)),
        )
        moved = result.transform.requires_grad_(False).displacement(fixed.grid)
        found.append((moved, [s.cost for s in result.history]))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert float(found[0][0].abs().max()) > 0


@every_optimiser
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_cost_that_is_not_a_number_stops_the_run(name):
    fixed, moving, _ = pair((12, 12))
    broken = moving.with_data(moving.data.clone())
    broken.data[..., 6, 6] = torch.nan
    transform = TAKES.get(name, ("displacement",))[0]
    with pytest.raises(FloatingPointError, match=r"cost became nan at \w+ level 0, step 0"):
        optimise(fixed, broken, transform, objective="mse", optimiser=name, levels=ONE_LEVEL)


# the gradient alone leaves a few hundredths of a millimetre more; sharp rims would leave the linear
# interpolation many minima, and which one is found to the last bits
@pytest.mark.parametrize(
    ("name", "limit"),
    [("gauss_newton", 0.06), ("lbfgs", 0.06), ("conjugate", 0.1), ("descent", 0.2)],
)
@pytest.mark.parametrize("axis", range(3))
def test_a_small_rigid_motion_is_found_to_a_fraction_of_a_voxel(axis, name, limit):
    shape, vector = (30, 28, 26), np.zeros(3)
    vector[axis] = np.radians(5)
    matrix = np.eye(4)
    matrix[:-1, :-1] = Rotation.from_rotvec(vector).as_matrix()
    matrix[:-1, -1] = np.roll([3.0, 0, 0], axis + 1)
    fixed, moving, truth = pair(shape, truth=Affine(matrix), blur=1.0)
    result = optimise(
        fixed, moving, "rigid", objective="mse", optimiser=name, levels=(Level(2, 40), Level(1, 40))
    )
    assert error(result.transform, Displacement().on(fixed.grid), fixed.grid, 5).mean() > 2
    assert error(result.transform, truth, fixed.grid, 5).max() < limit


@pytest.mark.parametrize("name", ["conjugate", "descent", "lbfgs"])
def test_a_line_search_never_accepts_a_higher_cost(name):
    fixed, moving, _ = pair()
    result = optimise(
        fixed, moving, "affine", objective="nmi", optimiser=f"{name}(first=8.0)", levels=ONE_LEVEL
    )
    costs = np.array([step.cost for step in result.history])
    assert (np.diff(costs) <= 0).all()
    assert costs[-1] < costs[0]


@pytest.mark.parametrize("cost", ["mse", "lncc(radius=2)"])
@pytest.mark.parametrize(
    ("optimiser", "seed"), [("compositive", 1), ("compositive", 2), ("compositive_adam", 2)]
)
def test_compositive_recovers_a_smooth_displacement_to_half_a_voxel(cost, optimiser, seed):
    shape = (32, 32, 32)
    grid = centred(shape, 2.0)
    truth = smooth_displacement(grid, peak=8, sigma=16, seed=seed)
    fixed, moving, _ = pair(shape, spacing=2.0, truth=truth, seed=seed)
    result = optimise(
        fixed,
        moving,
        "displacement",
        objective=cost,
        optimiser=optimiser,
        levels=(Level(4, 40), Level(2, 40)),
    )
    inside = (fixed.data[0, 0, 4:-4, 4:-4, 4:-4] > 0.1).flatten().numpy()
    start = error(Displacement().on(grid), truth, grid, 4)[inside]
    left = error(result.transform, truth, grid, 4)[inside]
    assert np.median(start) > 1
    assert np.median(left) < 0.5 * 2.0
    assert np.median(left) < 0.5 * np.median(start)
    with torch.no_grad():
        assert float(determinant(result.transform.displacement(grid), grid).min()) > 0


@pytest.mark.parametrize("similarity", ["mse", "mse + ngf"])
@pytest.mark.parametrize("penalty", ["bending", "diffusion", "elastic"])
def test_compositive_obeys_a_penalty(penalty, similarity):
    fixed, moving, _ = pair()

    def roughness(weight: float) -> float:
        result = optimise(
            fixed,
            moving,
            "displacement",
            objective=f"{similarity} + {weight}*{penalty}",
            optimiser="compositive(update=1.0, field=0.5)",
            levels=ONE_LEVEL,
        )
        alignment = Alignment(fixed, moving, result.transform)
        return float(build(penalty)(alignment).detach())

    assert roughness(10.0) < 0.8 * roughness(0.0)


@pytest.mark.parametrize(
    ("optimiser", "name"),
    [(o, t) for o, own in ONLY.items() for t in parts(Transform) if t != own],
)
def test_an_optimiser_says_which_transform_it_moves(optimiser, name):
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(
        ValueError,
        match=rf"^{optimiser} moves? .*, not {type(build(name)).__name__}; "
        rf"use '{ONLY[optimiser]}'",
    ):
        optimise(fixed, moving, name, objective="mse", optimiser=optimiser, levels=ONE_LEVEL)


def test_compositive_refuses_another_gradient():
    fixed, moving, _ = pair()
    with pytest.raises(ValueError, match="'warped' or 'moving', not 'fixed'"):
        optimise(
            fixed,
            moving,
            "displacement",
            objective="mse",
            optimiser="compositive(gradient='fixed')",
            levels=ONE_LEVEL,
        )


def test_adam_evens_out_the_forces():
    """Where forces are weak, as in the dark half of an image, Adam moves more at the same step."""
    shape = (40, 24, 24)
    fixed, moving, _ = pair(shape)
    shade = torch.where(torch.arange(40) < 20, 0.2, 1.0).view(1, 1, -1, 1, 1)
    dim, other = (i.with_data(i.data * shade) for i in (fixed, moving))
    share = []
    for rule in ("compositive(step=0.5)", "compositive_adam(floor=0.01)"):
        found = optimise(
            dim, other, "displacement", objective="mse", optimiser=rule, levels=(Level(0, 3, 0),)
        )
        size = found.transform.displacement(fixed.grid).norm(dim=1)
        share.append(float(size[:, :16].mean() / size[:, 24:].mean()))
    assert share[1] > 2 * share[0]


def test_compositive_needs_something_to_compare():
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match="at least one similarity"):
        optimise(fixed, moving, "displacement", objective="bending", optimiser=Compositive())


@pytest.mark.parametrize("shape", [(34, 32), (24, 22, 20)], ids=["2-D", "3-D"])
def test_compositive_is_led_by_labels_alone(shape):
    fixed, moving, truth = pair(shape)
    labels = textured(shape).labels
    back = pulled(labels, truth.inverse(), labels.grid, interpolation="label").with_mask(None)
    cost = objective("labels").with_data("labels", labels, back)
    levels = (Level(2, 10, 0), Level(1, 10, 0))
    result = optimise(
        fixed, moving, "displacement", objective=cost, optimiser="compositive", levels=levels
    )
    still, _ = cost(Alignment(fixed, moving, Displacement().on(fixed.grid)))
    left, _ = cost(Alignment(fixed, moving, result.transform))
    assert float(left.detach()) < 0.4 * float(still.detach())
    assert list(result.history[0].terms) == ["labels"]


def test_compositive_stays_where_labels_agree_already():
    fixed, _, _ = pair((34, 32))
    labels = textured((34, 32)).labels
    cost = objective("mse + labels").with_data("labels", labels, labels)
    result = optimise(
        fixed, fixed, "displacement", objective=cost, optimiser="compositive", levels=ONE_LEVEL
    )
    with torch.no_grad():
        assert float(result.transform.displacement(fixed.grid).abs().max()) < 0.05


def test_the_number_of_optimisers_must_be_that_of_levels():
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match="2 optimisers for 1 levels"):
        optimise(
            fixed, moving, "rigid", objective="mse", optimiser=["adam", "lbfgs"], levels=ONE_LEVEL
        )


def test_the_number_of_objectives_must_be_that_of_levels():
    fixed, moving, _ = pair((12, 12))
    with pytest.raises(ValueError, match="3 objectives for 1 levels"):
        optimise(fixed, moving, "rigid", objective="mse; ngf; mse", levels=ONE_LEVEL)


def test_every_level_is_watched_and_told():
    fixed, moving, _ = pair((24, 24))
    seen = []
    result = optimise(
        fixed,
        moving,
        "rigid",
        objective="mse",
        optimiser=["adam", "lbfgs"],
        levels=(Level(2, 3, 0), Level(1, 2, 0)),
        watch=seen.append,
    )
    assert tuple(seen) == result.history
    assert [(s.stage, s.level, s.step) for s in seen] == [
        ("rigid", 0, 0),
        ("rigid", 0, 1),
        ("rigid", 0, 2),
        ("rigid", 1, 0),
        ("rigid", 1, 1),
    ]
    assert all(s.terms["mse"] == pytest.approx(s.cost) for s in seen)
    assert result.status == "rigid: level 0 used its 3 steps, level 1 used its 2 steps"


@pytest.mark.parametrize(
    ("optimiser", "transform"),
    [
        *itertools.product(["conjugate", "descent", "lbfgs"], ["rigid", "affine", "displacement"]),
        ("compositive", "displacement"),
        ("compositive_adam", "displacement"),
        ("demons", "displacement"),
        ("log_demons", "velocity"),
        ("syn", "symmetric"),
    ],
)
def test_identical_images_stay_where_they_are(optimiser, transform):
    fixed = textured((24, 22, 20)).image
    result = optimise(
        fixed, fixed, transform, objective="mse", optimiser=optimiser, levels=(Level(0, 10),)
    )
    with torch.no_grad():
        assert float(result.transform.displacement(fixed.grid).abs().max()) < 0.05


def test_features_are_shared_by_all_steps_of_a_level():
    fixed, moving, _ = pair((16, 16))
    problem = Problem(fixed, moving, build("rigid").on(fixed.grid), objective("mind"))
    first, second = problem.alignment(), problem.alignment()
    problem.cost()
    assert first.prepared is second.prepared
    assert len(first.prepared) == 1


def test_a_run_ends_when_the_last_steps_gain_a_small_share():
    falling = list(np.linspace(10, 0, 21))
    assert not converged(falling, 0.01, 10)
    assert converged([*falling, *[0.0] * 10], 0.01, 10)
    # the last ten gain 0.5 of 10
    late = [*falling[:11], *np.linspace(4.95, 4.5, 10)]
    assert converged(late, 0.1, 10)
    assert not converged(late, 0.05, 10)
    assert not converged([5.0] * 19, 0.01, 10)
    assert converged([5.0] * 20, 0.01, 10)
    assert not converged([5.0] * 20, 0.0, 10)
    # a cost that rises does not count as progress
    assert converged(list(np.linspace(0, 10, 20)), 0.01, 10)


def folded(shape) -> tuple[torch.Tensor, Grid]:
    """A field that folds in the middle and does not vanish at the border."""
    grid = centred(shape, (1.0, 1.5, 2.0)[: len(shape)])
    x = grid.points().float()[0]
    bump = torch.exp(-((x / 4) ** 2).sum(-1))
    field = torch.stack([-3 * x[:, 0] * bump + 2.0, *(1.0 + 0 * x[:, 1:]).T])
    return field.reshape(1, grid.dim, *shape), grid


@pytest.mark.parametrize("shape", [(40, 36), (28, 26, 24)], ids=["2-D", "3-D"])
def test_a_settled_field_has_no_folds_and_is_zero_at_its_border(shape):
    field, grid = folded(shape)
    assert float(determinant(field, grid).min()) < -0.5
    result = unfolded(Displacement(field=field, grid=grid)).requires_grad_(False)
    assert float(determinant(result.field, result.grid).min()) > 0
    for axis in range(2, grid.dim + 2):
        for end in (0, -1):
            assert float(result.field.select(axis, end).abs().max()) == 0
    assert all(a > b for a, b in zip(result.grid.shape, grid.shape, strict=True))
    assert np.allclose(result.grid.centre, grid.centre)


@pytest.mark.parametrize("shape", [(40, 36), (28, 26, 24)], ids=["2-D", "3-D"])
def test_far_from_folds_a_settled_field_is_what_it_was(shape):
    field, grid = folded(shape)
    result = unfold_field(field, grid)
    corner = (..., *(slice(0, 3),) * grid.dim)
    assert torch.equal(result[corner], field[corner])
    calm = 0.2 * field
    assert torch.equal(unfold_field(calm, grid), calm)
    kept = unfolded(Displacement(field=calm, grid=grid)).requires_grad_(False)
    assert float((kept.displacement(grid) - calm).abs().max()) < 1e-4


def test_settling_nothing_gives_nothing():
    grid = centred((12, 12))
    result = unfolded(Displacement().on(grid)).requires_grad_(False)
    assert float(result.field.abs().max()) == 0


def test_the_image_of_a_level_is_the_blurred_image():
    fixed, moving, _ = pair((24, 24))
    shapes = []

    class Watching(Optimiser):
        name = "watching"

        def start(self, problem: Problem):
            shapes.append((problem.fixed.grid.shape, problem.moving.grid.shape))
            return LBFGS().start(problem)

    assert isinstance(moving, Image)
    levels = (Level(4, 1), Level(2, 1), Level(0, 1))
    optimise(fixed, moving, "rigid", objective="mse", optimiser=[Watching()] * 3, levels=levels)
    assert shapes == [((6, 6), (6, 6)), ((12, 12), (12, 12)), ((24, 24), (24, 24))]


@every_optimiser
def test_the_pairs_of_a_batch_are_optimised_as_if_each_were_alone(name):
    transform = TAKES.get(name, ("affine",))[0]
    pairs = [pair((20, 18), seed=s)[:2] for s in (0, 5)]
    fixed, moving = (
        Image(torch.cat([images[which].data for images in pairs]), pairs[0][0].grid)
        for which in (0, 1)
    )
    settings = {"objective": "mse", "optimiser": name, "levels": (Level(2, 4), Level(1, 4))}
    both = optimise(fixed, moving, transform, **settings)
    points = fixed.grid.points()
    for b, images in enumerate(pairs):
        alone = optimise(*images, transform, **settings).transform
        with torch.no_grad():
            assert torch.equal(both.transform(points)[b], alone(points)[0])
            field = alone.displacement(fixed.grid)
            assert torch.equal(both.transform.displacement(fixed.grid)[b], field[0])


def test_a_batch_may_begin_from_a_transform_of_as_many_pairs():
    fixed = pair((20, 18))[0]
    two = Image(fixed.data.repeat(2, 1, 1, 1), fixed.grid)
    field = torch.zeros(2, 2, 20, 18)
    field[1] = 3.0
    start = Displacement(field=field, grid=fixed.grid)
    settings = {"objective": "mse", "optimiser": "adam(rate=1e-6)", "levels": (Level(0, 1),)}
    found = optimise(two, two, start, **settings).transform.displacement(fixed.grid)
    torch.testing.assert_close(found.detach(), field, atol=1e-4, rtol=0)
    again = optimise(two, two, optimise(two, two, start, **settings).transform, **settings)
    torch.testing.assert_close(
        again.transform.displacement(fixed.grid).detach(), field, atol=1e-4, rtol=0
    )
    three = Image(fixed.data.repeat(3, 1, 1, 1), fixed.grid)
    with pytest.raises(ValueError, match="a transform of 2 pairs for 3 pairs of images"):
        optimise(three, three, again.transform, **settings)


def test_a_transform_that_cannot_be_moved_is_refused():
    fixed, moving, _ = pair((20, 18))
    frozen = Displacement(grid=fixed.grid).requires_grad_(False)
    with pytest.raises(ValueError, match=r"nothing to move: it is frozen, which requires_grad_"):
        optimise(fixed, moving, frozen, objective="mse", optimiser="adam", levels=ONE_LEVEL)
    computed = torch.zeros(1, 2, 20, 18, requires_grad=True) * 1.0
    with pytest.raises(ValueError, match="or a network computed it"):
        optimise(
            fixed,
            moving,
            Displacement(field=computed, grid=fixed.grid),
            objective="mse",
            optimiser="lbfgs",
            levels=ONE_LEVEL,
        )


def test_what_is_frozen_of_a_chain_stays_where_it_is():
    fixed, moving, _ = pair((20, 18))
    outer = Affine(np.eye(3)).requires_grad_(False)
    chain = outer @ Displacement(grid=fixed.grid)
    found = optimise(fixed, moving, chain, objective="mse", optimiser="adam", levels=ONE_LEVEL)
    first, second = found.transform
    assert np.array_equal(first.numpy(), np.eye(3))
    assert float(second.field.detach().abs().max()) > 0.1

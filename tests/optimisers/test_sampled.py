import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.objective import Penalty, Similarity, objective
from coincide.optimisers.annealed import share
from coincide.optimisers.level import Level
from coincide.optimisers.loop import medians, optimise
from coincide.optimisers.optimiser import Problem
from coincide.optimisers.scattered import Scattered, both_prepared
from coincide.optimisers.strata import Strata
from coincide.registry import build, parts
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.derivatives import hessian_at
from coincide.transforms.transform import Transform
from random_transforms import randomised
from worlds import oblique

POINTWISE = [name for name, part in parts(Similarity).items() if part.pointwise]
OF_POINTS = [name for name, part in parts(Penalty).items() if part.order]
SHAPE = (22, 20, 18)


def pair(*, masked=False):
    fixed, moving = (textured(SHAPE, seed=s).image for s in (1, 2))
    moving = moving.with_data(0.7 * fixed.data + 0.3 * moving.data)
    if masked:
        mask = torch.zeros(1, 1, *SHAPE)
        mask[..., 4:-4, 4:-4, 4:-4] = 1
        fixed = fixed.with_mask(mask)
    return fixed, moving


def at_points(problem: Problem, points, voxels, regularised=None):
    scattered = Scattered(problem.objective, both_prepared(problem), problem.fixed.mask)
    costs = scattered.costs(problem.transform, points, voxels, regularised)
    return float(
        sum(w * float(c) for (w, _), c in zip(problem.objective.terms, costs, strict=True))
    )


@pytest.mark.parametrize("name", POINTWISE)
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_at_all_voxels_a_similarity_is_that_of_the_grid(name, masked):
    fixed, moving = pair(masked=masked)
    transform = randomised("affine", fixed.grid, size=0.5).float()
    problem = Problem(fixed, moving, transform, objective(name))
    expected, _ = problem.cost()
    every = Strata(fixed.grid, fixed.grid.voxels, fixed.mask, jitter=False)
    points, voxels = every.draw(torch.Generator().manual_seed(0))
    assert len(voxels) == (fixed.grid.voxels if not masked else int(fixed.mask.sum()))
    found = at_points(problem, points, voxels)
    assert found == pytest.approx(float(expected), rel=2e-3, abs=1e-6)
    assert abs(found) > 1e-5


@pytest.mark.parametrize("name", ["mse", "ncc", "standardised"])
def test_many_jittered_points_come_close_to_the_grid(name):
    fixed, moving = pair()
    # between voxels an interpolated image is smoother than at them, so both are smooth
    image = [i.with_data(torch.nn.functional.avg_pool3d(i.data, 5, 1, 2)) for i in (fixed, moving)]
    problem = Problem(*image, randomised("affine", fixed.grid, size=0.2), objective(name))
    expected, _ = problem.cost()
    generator = torch.Generator().manual_seed(0)
    strata = Strata(fixed.grid, 4000)
    found = np.mean([at_points(problem, *strata.draw(generator)) for _ in range(10)])
    assert found == pytest.approx(float(expected), rel=0.1)


def test_every_voxel_is_drawn_as_often_and_points_fill_their_voxels():
    fixed, _ = pair(masked=True)
    strata, generator = Strata(fixed.grid, 100, fixed.mask), torch.Generator().manual_seed(0)
    counts, rests = torch.zeros(SHAPE), []
    for _ in range(300):
        points, voxels = strata.draw(generator)
        counts.index_put_(tuple(voxels.T), torch.ones(len(voxels)), accumulate=True)
        index = fixed.grid.to_index(points[0].double().numpy())
        rests.append(index - voxels.numpy())
    inside = fixed.mask[0, 0] > 0
    assert float(counts[~inside].max()) == 0
    mean = 300 * 100 / float(inside.sum())
    assert abs(float(counts[inside].mean()) - mean) < 1e-4
    # about as even as coins thrown for every voxel, not drawn from some of them more
    assert float(counts[inside].std()) < 1.2 * mean**0.5
    rest = np.concatenate(rests)
    assert np.abs(rest).max() < 0.501
    np.testing.assert_allclose(rest.std(0), 12**-0.5, rtol=0.02)


def test_points_of_a_step_are_spread_evenly():
    grid = oblique((32, 32, 32))
    points, voxels = Strata(grid, 64).draw(torch.Generator().manual_seed(0))
    eighths = torch.zeros(2, 2, 2)
    for place in (voxels // 16).tolist():
        eighths[tuple(place)] += 1
    assert points.shape == (1, 64, 3)
    # a run of voxels may end in the next block
    assert (eighths - 8).abs().max() <= 1


class Quadratic(Transform):
    """x + A x + x B x, whose derivatives are known."""

    def __init__(self, linear, curved):
        super().__init__()
        self.linear, self.curved = linear, curved

    def forward(self, points):
        curved = torch.einsum("bpj,ijk,bpk->bpi", points, self.curved, points)
        return points + points @ self.linear.T + curved

    def displacement(self, grid, inner=None):
        assert inner is None
        moved = self(grid.points()) - grid.points()
        return moved.transpose(1, 2).reshape(1, grid.dim, *grid.shape)

    def inverse(self):
        raise NotImplementedError

    def on(self, grid):  # noqa: ARG002
        return self


@pytest.mark.parametrize("name", OF_POINTS)
@pytest.mark.parametrize("dim", [2, 3])
def test_the_density_of_a_penalty_is_what_it_averages_over_a_grid(name, dim):
    # voxel axes are world axes, as the faces of a voxel are those of the world at points
    grid = textured((12,) * dim).image.grid
    random = torch.Generator().manual_seed(3)
    size = 0.6 if name == "folding" else 0.1
    linear = size * torch.randn(dim, dim, generator=random, dtype=torch.float64)
    linear[0, 0] -= 2 if name == "folding" else 0
    curved = 1e-3 * torch.randn(dim, dim, dim, generator=random, dtype=torch.float64)
    if build(name).order == 1:
        curved = 0 * curved
    transform = Quadratic(linear, (curved + curved.transpose(1, 2)) / 2)
    image = Image(torch.zeros(1, 1, *grid.shape), grid)
    points = grid.points()[:, :7]
    density = build(name).density(transform.jacobian(points), transform.hessian(points))
    assert density.shape == (1, 7)
    # differences of a parabola are one-sided at the border, so the middle is looked at
    small = grid.crop((0,) * dim, grid.shape)
    expected = float(build(name)(Alignment(image, image, transform)))
    if name == "bending":
        both = transform.curved + transform.curved.transpose(1, 2)
        expected = float(both.square().sum())
    assert small.shape == grid.shape
    assert expected > 1e-7
    torch.testing.assert_close(density, torch.full_like(density, expected), rtol=1e-5, atol=0)


def test_penalties_at_points_of_a_spline_are_those_of_its_closed_form():
    grid = oblique((24, 26, 22))
    transform = randomised("bspline", grid)
    points, _ = Strata(grid, 8000).draw(torch.Generator().manual_seed(0))
    # the domain of the lattice is a little larger than the grid
    found = (
        build("bending").density(transform.jacobian(points), hessian_at(transform, points)).mean()
    )
    assert float(found) == pytest.approx(float(transform.bending()), rel=0.25)


def fitted(fixed, moving, *, seed=0, steps=12, cost="mse + 0.1*bending", **given):
    optimiser = build(f"sampled(points=800, regularised=50, rate=0.002, seed={seed})")
    return optimise(
        fixed,
        moving,
        given.get("transform", "siren(width=16)"),
        objective=cost,
        optimiser=given.get("optimiser", optimiser),
        levels=(Level(2, steps, 0), Level(1, steps, 0)),
    )


def test_the_same_seed_gives_the_same_bits_and_another_gives_others():
    fixed, moving = pair()
    first, second, other = (fitted(fixed, moving, seed=s) for s in (0, 0, 1))
    weights = [r.transform.network.layers[1].weight for r in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert [s.cost for s in first.history] == [s.cost for s in second.history]


@pytest.mark.parametrize("cost", ["mse", "standardised + 0.1*bending"])
def test_garbage_outside_the_mask_changes_nothing(cost):
    fixed, moving = pair(masked=True)
    garbage = torch.where(fixed.mask > 0, fixed.data, 100.0)
    first, second = (fitted(i, moving, cost=cost) for i in (fixed, fixed.with_data(garbage)))
    points = fixed.grid.points()
    gap = first.transform(points) - second.transform(points)
    assert float((first.transform(points) - points).abs().max()) > 0.1
    assert float(gap.abs().max()) < 1e-3


def test_points_mapped_out_of_the_moving_image_do_not_count():
    fixed, moving = pair()
    zero = Image(
        torch.zeros(1, 1, *(n + 20 for n in SHAPE)),
        moving.grid.crop([-10] * 3, [n + 10 for n in SHAPE]),
    )
    zero.data[..., 10:-10, 10:-10, 10:-10] = moving.data
    inside = torch.zeros_like(zero.data)
    inside[..., 10:-10, 10:-10, 10:-10] = 1
    transform = randomised("translation", fixed.grid, size=2.0)
    points, voxels = Strata(fixed.grid, 3000).draw(torch.Generator().manual_seed(0))
    alone, padded, marked = (
        at_points(Problem(fixed, image, transform, objective("mse")), points, voxels)
        for image in (moving, zero, zero.with_mask(inside))
    )
    assert alone == pytest.approx(marked, rel=0.05)
    assert abs(padded - alone) > 3 * abs(marked - alone)


@pytest.mark.parametrize("name", ["lncc", "ssim", "local_mi", "lncc_gaussian"])
def test_windows_are_refused_and_told_what_would_do(name):
    with pytest.raises(ValueError, match=rf"{name} compares neighbourhoods; use 'standardised'"):
        fitted(*pair(), cost=name)


def test_data_of_other_images_are_refused():
    fixed, moving = pair()
    cost = objective("mse") + build("mse").of(fixed, moving)
    with pytest.raises(ValueError, match="use adam, which looks at all voxels"):
        fitted(fixed, moving, cost=cost)


def test_a_penalty_without_a_density_is_refused():
    class Odd(Penalty):
        name = "odd"

        def __str__(self):
            return "odd"

        def __call__(self, alignment):
            return alignment.displacement.abs().flatten(1).mean(1)

    with pytest.raises(ValueError, match=r"odd is none that can be; use one of: bending"):
        fitted(*pair(), cost=objective("mse") + Odd())
    with pytest.raises(ValueError, match="known on a grid only"):
        Odd().density(torch.eye(3)[None, None])


def test_landmarks_pull_as_well():
    fixed, _ = pair()
    here = fixed.grid.to_world(np.array([[11.0, 10, 9], [6, 6, 6]]))
    there = here + np.array([1.5, 0, 0])
    cost = objective("0*mse + landmarks").with_data("landmarks", here, there)
    found = fitted(fixed, fixed, cost=cost, steps=40).transform
    assert np.linalg.norm(found(here) - there, axis=1).max() < 0.7


@pytest.mark.parametrize(
    ("transform", "rate", "dim"),
    [("siren(width=64)", 0.001, 2), ("siren(width=32)", 0.002, 3), ("bspline(spacing=8)", 0.2, 2)],
)
def test_a_known_deformation_is_found(transform, rate, dim):
    shape = (32, 30, 28)[:dim]
    fixed = textured(shape, seed=1, spacing=1.5).image
    truth = smooth_displacement(fixed.grid, peak=5, sigma=12, seed=2).requires_grad_(False)
    back = truth.inverse().requires_grad_(False)
    moving = Alignment(fixed, fixed, back).warped.with_mask(None)
    points = fixed.grid.crop((7,) * dim, [n - 7 for n in shape]).points()
    before = float((truth(points) - points).norm(dim=-1).mean())
    found = optimise(
        fixed,
        moving,
        transform,
        objective="ncc + 1*bending",
        optimiser=f"sampled(points=800, regularised=50, rate={rate})",
        levels=(Level(3, 60, 0), Level(1.5, 50, 0)),
    ).transform
    with torch.no_grad():
        error = float((found(points) - truth(points)).norm(dim=-1).mean())
    assert error < 0.5 * before


def test_the_rate_rises_then_falls_as_a_cosine():
    shares = [share(n, 200) for n in range(200)]
    assert shares[:20] == pytest.approx(np.arange(1, 21) / 20)
    assert max(shares) == 1.0
    assert shares[110] == pytest.approx(0.51, abs=0.01)
    assert shares[-1] < 0.03
    assert share(1000, 0) == 1.0


@pytest.mark.parametrize(
    ("transform", "optimiser"),
    [
        ("siren(width=8)", "sampled(points=100, regularised=10)"),
        ("cycle(width=8)", "cycle_sampled(points=50, regularised=10)"),
    ],
)
def test_the_rate_falls_to_its_end_though_the_cost_has_settled(transform, optimiser):
    fixed, _ = pair()
    # nothing to gain: any tolerance is reached by the first windows
    found = optimise(
        fixed,
        fixed,
        transform,
        objective="mse",
        optimiser=optimiser,
        levels=(Level(2, 40, tolerance=0.5, window=5),),
    )
    assert len(found.history) == 40
    assert "used its 40 steps" in found.status


def test_a_noisy_cost_is_judged_by_medians():
    random = np.random.default_rng(0)
    flat = 1 + 0.1 * random.standard_normal(40)
    flat[7] = -50  # one lucky sample
    assert medians([3, 1, 2, 9, 9, 9, 5], 3) == [2, 9]
    assert np.ptp(medians(flat, 10)) < 0.2

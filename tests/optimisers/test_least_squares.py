"""Gauss-Newton for deformations that are linear in their parameters."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.kernels.smooth import gaussian
from coincide.objective import objective
from coincide.optimisers.least_squares import LeastSquares
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.normal_matrix import Quadratic, curvature_of
from coincide.optimisers.optimiser import Problem
from coincide.registry import build
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.control_points import spread_over
from coincide.transforms.design import design
from worlds import oblique

every_design = pytest.mark.parametrize(
    "text",
    [
        "bspline(spacing=6.0)",
        "siren(width=24, omega=4.0)",
        "sinr(spacing=6.0, width=24, omega=4.0)",
    ],
)


def placed(text: str, grid: Grid, *, seed=0):
    """A transform whose weights are random, mm."""
    transform = build(text).on(grid).double()
    held = design(transform)
    random = np.random.default_rng(seed)
    held.put(torch.tensor(random.standard_normal(held.weights.shape)))
    return transform, held


def inside(grid: Grid, count: int, *, seed=1) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.tensor(
        grid.to_world(random.uniform(1, np.array(grid.shape) - 2, (count, grid.dim)))
    )


def warped_pair(shape, *, peak=6.0, spacing=2.0, seed=1):
    """A phantom, the same bent, and the truth."""
    fixed = textured(shape, seed, spacing).image
    truth = smooth_displacement(fixed.grid, peak=peak, sigma=14, seed=seed)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped
    return fixed, moving.with_mask(None), truth


def missed(found, truth, fixed: Image) -> torch.Tensor:
    with torch.no_grad():
        gap = found.displacement(fixed.grid) - truth.displacement(fixed.grid)
    return gap.norm(dim=1)[0][fixed.data[0, 0] > 0.1]


@every_design
@pytest.mark.parametrize("dim", [2, 3])
def test_the_displacement_is_the_matrix_times_the_weights(text, dim):
    grid = oblique((14, 15, 13)[:dim])
    transform, held = placed(text, grid)
    points = inside(grid, 200)
    expected = transform(points[None])[0].detach() - points
    assert float(expected.abs().max()) > 0.1
    assert torch.allclose(held.matrix(points) @ held.weights, expected, atol=1e-10)


@every_design
@pytest.mark.parametrize("dim", [2, 3])
def test_the_form_of_bending_is_the_mean_of_squared_second_derivatives(text, dim):
    grid = oblique((14, 15, 13)[:dim])
    transform, held = placed(text, grid)
    points = inside(grid, 100)
    value = float((held.bent(held.weights, points) * held.weights).sum())
    if "siren" in text:
        expected = transform.hessian(points[None]).square().sum((2, 3, 4)).mean()
    else:
        expected = transform.bending()
    assert value == pytest.approx(float(expected.detach()), rel=1e-8)
    eye = torch.eye(len(held.weights), dtype=torch.float64)
    whole = held.bent(eye, points)
    assert torch.allclose(whole, whole.T, atol=1e-10 * float(whole.abs().max()))
    assert torch.allclose(whole.diagonal(), held.stiffness(points))


@pytest.mark.parametrize("stiffness", [0.0, 3.0])
def test_dense_and_sparse_solutions_of_the_same_equations_agree(stiffness):
    grid = oblique((9, 8, 7))
    _, held = placed("bspline(spacing=9.0)", grid)
    points = inside(grid, 4000)
    slopes = torch.randn(4000, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    squares = torch.einsum("pci,pcj->pij", slopes, slopes) / 4000
    gradient = torch.randn(held.weights.shape, generator=torch.Generator().manual_seed(1)).double()
    about = Quadratic(squares, gradient)
    matrix = held.matrix(points)
    expected = curvature_of(held, matrix.to_dense(), points, about, stiffness)
    found = curvature_of(held, matrix, points, about, stiffness)
    one, other = (c.solved(gradient, 0.1) for c in (expected, found))
    assert float((one - other).norm() / one.norm()) < 0.03


@pytest.mark.parametrize("text", ["bspline(spacing=6.0)", "siren(width=24, omega=4.0)"])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_quadratic_problem_is_solved_in_one_step(text, dim):
    # images that change evenly along each axis make the residual linear in the displacement
    grid = oblique((11, 12, 10)[:dim], spacing=1.0)
    shift = torch.tensor([0.3, -0.2, 0.1][:dim], dtype=torch.float64)
    place = grid.points().transpose(1, 2).reshape(1, dim, *grid.shape)
    moving = Image(place.clone(), grid)
    fixed = Image(place + shift.view(1, -1, *(1,) * dim), grid)
    inner = torch.zeros(1, 1, *grid.shape, dtype=torch.float64)
    inner[(..., *(slice(2, -2),) * dim)] = 1
    transform = build(text).on(grid).double()
    rule = LeastSquares(points=0, damping=1e-9)
    run = rule.start(Problem(fixed.with_mask(inner), moving, transform, objective("mse")))
    first, _ = run.step()
    second, _ = run.step()
    assert first == pytest.approx(float(shift.square().mean()), rel=1e-6)
    assert second < 1e-3 * first
    points = torch.tensor(grid.to_world(np.full((1, grid.dim), 5.0)))[None]
    assert torch.allclose(transform(points) - points, shift.expand(1, 1, dim), atol=2e-3)


@pytest.mark.parametrize("text", ["bspline(spacing=8.0)", "siren(width=128, omega=8.0)"])
def test_a_known_warp_is_recovered(text):
    fixed, moving, truth = warped_pair((28, 26, 24))
    found = optimise(
        fixed,
        moving,
        text,
        objective="mse + 0.1*bending",
        optimiser="least_squares(points=4000)",
        levels=(Level(8, 6, 0), Level(4, 6, 0), Level(2, 5, 0)),
    ).transform
    start = missed(build("displacement").on(fixed.grid), truth, fixed)
    left = missed(found, truth, fixed)
    assert float(start.median()) > 0.8
    assert float(left.median()) < 0.4 * float(start.median())


def test_channels_of_self_similarity_bring_two_contrasts_together():
    fixed, moving, truth = warped_pair((48, 46), peak=4.0, spacing=1.0)
    other = moving.with_data(1 - moving.data**2)
    found = optimise(
        fixed,
        other,
        "siren(width=64, omega=8.0)",
        objective="mind_ssc + 0.01*bending",
        optimiser="least_squares",
        levels=(Level(2, 8, 0), Level(1, 8, 0)),
    ).transform
    start = missed(build("displacement").on(fixed.grid), truth, fixed)
    assert float(missed(found, truth, fixed).median()) < 0.5 * float(start.median())


def test_it_ends_where_lbfgs_ends():
    fixed, moving, _ = warped_pair((30, 28), peak=2.0, spacing=1.0)
    fixed, moving = (i.with_data(gaussian(i.data.double(), [1.5, 1.5])) for i in (fixed, moving))
    ends, costs = [], []
    for optimiser, steps in (("least_squares(points=0)", 60), ("lbfgs", 400)):
        start = build("bspline(spacing=10.0)").on(fixed.grid).double()
        found = optimise(
            fixed,
            moving,
            start,
            objective="mse + 3*bending",
            optimiser=optimiser,
            levels=(Level(0, steps, 0),),
        )
        costs.append(min(step.cost for step in found.history))
        with torch.no_grad():
            ends.append(found.transform.displacement(fixed.grid))
    assert float(ends[0].abs().max()) > 0.3
    gap = (ends[0] - ends[1]).norm(dim=1)
    assert float(gap.mean()) < 1e-3
    assert float(gap.max()) < 3e-3
    assert costs[0] <= costs[1] * (1 + 1e-6)


def test_the_cost_that_it_reports_on_all_voxels_is_that_of_the_objective():
    fixed, moving, _ = warped_pair((30, 28), spacing=1.0)
    masked = fixed.with_mask((fixed.data > 0.1).float())
    transform, _ = placed("bspline(spacing=8.0)", fixed.grid)
    cost = objective("2*ngf + mse + 0.3*bending")
    problem = Problem(masked, moving, transform.float(), cost)
    expected, terms = problem.cost()
    found, values = LeastSquares(points=0).start(problem).step()
    assert found == pytest.approx(float(expected), rel=1e-4)
    assert values == pytest.approx(terms, rel=1e-4)


def test_two_seeds_draw_other_points_and_one_seed_the_same():
    fixed, moving, _ = warped_pair((40, 38), spacing=1.0)

    def cost(seed: int) -> float:
        transform = build("bspline").on(fixed.grid)
        rule = LeastSquares(points=200, seed=seed)
        return rule.start(Problem(fixed, moving, transform, objective("mse"))).step()[0]

    assert cost(1) == cost(1) != cost(2)


@pytest.mark.parametrize("term", ["nmi", "lncc", "diffusion"])
def test_what_is_no_square_is_refused(term):
    fixed, moving, _ = warped_pair((20, 18))
    with pytest.raises(
        ValueError, match=rf"squared differences \(.*mind.*\) and bending, not {term}"
    ):
        optimise(fixed, moving, "bspline", objective=f"mse + {term}", optimiser="least_squares")


@pytest.mark.parametrize("kind", ["velocity", "affine", "displacement"])
def test_what_is_not_linear_in_its_parameters_is_refused(kind):
    fixed, moving, _ = warped_pair((20, 18))
    with pytest.raises(ValueError, match=r"\(bspline, siren, sinr\), not \w+; use adam or lbfgs"):
        optimise(fixed, moving, kind, objective="mse", optimiser="least_squares")


def test_every_point_is_made_of_control_points_whose_weights_add_up_to_one():
    grid = oblique((9, 8, 7))
    matrix = spread_over(grid, torch.tensor(grid.to_world(np.array([[3.2, 2.5, 3.9], [90, 0, 0]]))))
    assert torch.allclose(matrix.to_dense().sum(1), torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert torch.equal(matrix.to_dense(), matrix.coalesce().to_dense())

"""What holds for every registered penalty."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.phantoms import centred
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import laplacian
from coincide.transforms.linear import Affine
from worlds import noise, oblique

SHAPES = {2: (15, 13), 3: (11, 12, 10)}
FREE_UNDER_AFFINE = ("bending", "curvature", "folding")

every_penalty = pytest.mark.parametrize("name", parts(Penalty))
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def aligned(field: torch.Tensor, grid: Grid) -> Alignment:
    blank = Image(torch.zeros(len(field), 1, *grid.shape, dtype=field.dtype), grid)
    return Alignment(blank, blank, Displacement(field=field, grid=grid))


def cost(name: str, field: torch.Tensor, grid: Grid) -> float:
    return float(build(name)(aligned(field, grid)).detach())


def on_points(function, grid: Grid) -> torch.Tensor:
    """Displacement (1, D, *S) from a function of world points (N, D)."""
    values = np.asarray(function(grid.points()[0].numpy()))
    return torch.tensor(values.T.reshape(1, grid.dim, *grid.shape))


@every_penalty
@both_dimensions
def test_translations_are_free(name, dim):
    grid = oblique(SHAPES[dim])
    field = on_points(lambda x: 0 * x + np.arange(dim) - 3.7, grid)
    assert cost(name, field, grid) < 1e-20


@every_penalty
@both_dimensions
def test_the_identity_is_free_and_a_crumpled_field_is_not(name, dim):
    grid = oblique(SHAPES[dim])
    field = 3 * noise(SHAPES[dim], sigma=0, channels=dim, dtype=torch.float64)
    assert cost(name, 0 * field, grid) < 1e-20
    assert cost(name, field, grid) > 0.01


@pytest.mark.parametrize("name", FREE_UNDER_AFFINE)
@both_dimensions
def test_affine_maps_are_free(name, dim):
    grid = oblique(SHAPES[dim])
    matrix = 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    field = on_points(lambda x: x @ matrix.T + 4, grid)
    assert cost(name, field, grid) < 1e-20
    homogeneous = np.eye(dim + 1)
    homogeneous[:-1, :-1] += matrix
    blank = Image(torch.zeros(1, 1, *grid.shape), grid)
    affine = Affine(homogeneous).requires_grad_(False)
    assert float(build(name)(Alignment(blank, blank, affine))) < 1e-9


@both_dimensions
def test_the_gradient_penalties_of_a_linear_field_are_known(dim):
    grid = oblique(SHAPES[dim])
    matrix = 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    field = on_points(lambda x: x @ matrix.T, grid)
    assert cost("diffusion", field, grid) == pytest.approx((matrix**2).sum(), rel=1e-10)
    strain = (matrix + matrix.T) / 2
    energy = (strain**2).sum() + np.trace(matrix) ** 2 / 2
    assert cost("elastic", field, grid) == pytest.approx(energy, rel=1e-10)
    weighted = 0.3 * (strain**2).sum() + 2.5 * np.trace(matrix) ** 2 / 2
    found = cost("elastic(mu=0.3, lamda=2.5)", field, grid)
    assert found == pytest.approx(weighted, rel=1e-10)


@both_dimensions
def test_the_penalties_of_a_linear_map_are_known(dim):
    grid = oblique(SHAPES[dim])
    matrix = 0.2 * np.random.default_rng(0).standard_normal((dim, dim)) + 0.2 * np.eye(dim)
    field = on_points(lambda x: x @ matrix.T, grid)
    jacobian = np.eye(dim) + matrix
    det, length = np.linalg.det(jacobian), (matrix**2).sum()
    assert abs(det - 1) > 0.05
    faces = det * np.linalg.inv(jacobian).T @ grid.direction  # its normals are its axes
    growth = (np.clip((faces**2).sum(0) - 1, 0, None) ** 2).sum()
    known = {
        "total_variation(epsilon=0.2)": np.sqrt(length + 0.04) - 0.2,
        "volume": abs(det - 1),
        "log_jacobian": np.log(det) ** 2,
        "symmetric_jacobian": det + 1 / det - 2,
        "hyperelastic(area=0.0, volume=0.0)": length / 2,
        "hyperelastic(length=0.0, volume=0.0)": growth,
        "hyperelastic(length=0.0, area=0.0)": (det - 1) ** 4 / det**2,
    }
    assert growth > 0
    for text, value in known.items():
        assert cost(text, field, grid) == pytest.approx(value, rel=1e-9), text


@pytest.mark.parametrize("name", ["log_jacobian", "symmetric_jacobian"])
@both_dimensions
def test_growth_costs_as_much_as_shrinkage(name, dim):
    grid = centred(SHAPES[dim])

    def scaled(factor):
        return on_points(lambda x: (factor - 1) * x, grid)

    assert cost(name, scaled(1.3), grid) == pytest.approx(cost(name, scaled(1 / 1.3), grid))
    assert cost(name, scaled(1.3), grid) > 0.1


@pytest.mark.parametrize("name", ["log_jacobian", "symmetric_jacobian", "hyperelastic"])
def test_a_barrier_is_smooth_at_its_floor_and_falls_towards_it_from_folds(name):
    grid = centred((4, 4))

    def at(determinant):
        return on_points(lambda x: np.stack([(determinant - 1) * x[:, 0], 0 * x[:, 1]], -1), grid)

    part = {"hyperelastic": "hyperelastic(length=0.0, area=0.0, floor=0.3)"}
    text = part.get(name, f"{name}(floor=0.3)")
    costs = [cost(text, at(d), grid) for d in (-2.0, -1.0, 0.0, 0.3, 0.6, 0.9)]
    assert costs == sorted(costs, reverse=True)
    # below the floor it is straight, and its slope does not jump there
    assert costs[0] - costs[1] == pytest.approx(costs[1] - costs[2], rel=1e-9)
    below, above = (
        (cost(text, at(0.3 + a), grid) - cost(text, at(0.3 + b), grid)) / 1e-5
        for a, b in ((0, -1e-5), (1e-5, 0))
    )
    assert below == pytest.approx(above, rel=1e-3)
    assert below == pytest.approx(costs[2] - costs[1], rel=1e-6)


@both_dimensions
def test_a_jump_costs_total_variation_its_height_once(dim):
    grid = centred((40, *(6,) * (dim - 1)), 0.5)
    costs = []
    for width in (1e-3, 4.0, 8.0):
        field = on_points(
            lambda x, w=width: (
                np.stack([0 * x[:, 0], np.clip(x[:, 0] / w, -0.5, 0.5) * 3], -1)
                if dim == 2
                else np.stack([0 * x[:, 0], np.clip(x[:, 0] / w, -0.5, 0.5) * 3, 0 * x[:, 0]], -1)
            ),
            grid,
        )
        costs.append(cost("total_variation(epsilon=1e-6)", field, grid))
    # 3 mm over 20 mm, however it is spread
    assert costs == pytest.approx([3 / 20] * 3, rel=1e-3)


@both_dimensions
def test_small_rotations_cost_the_elastic_body_nothing_to_first_order(dim):
    grid = oblique(SHAPES[dim])
    skew = np.zeros((dim, dim))
    skew[0, 1], skew[1, 0] = -0.1, 0.1
    field = on_points(lambda x: x @ skew.T, grid)
    assert cost("elastic", field, grid) < 1e-20
    assert cost("diffusion", field, grid) == pytest.approx(0.02)


@both_dimensions
def test_bending_of_a_parabola_is_known_in_the_interior(dim):
    # in mm along x: u = x², so its only second derivative is 2 per mm, whatever the voxels
    grid = centred((31, *(3,) * (dim - 1)), (0.5, *(2.0,) * (dim - 1)))
    field = on_points(lambda x: np.stack([x[:, 0] ** 2, *(0 * x[:, 1:]).T], -1), grid)
    # at each end two of the 31 voxels see one-sided differences: 1 and 1.5 per mm
    expected = (27 * 4 + 2 * (1 + 2.25)) / 31
    assert cost("bending", field, grid) == pytest.approx(expected, rel=1e-9)


@both_dimensions
def test_curvature_of_a_parabola_is_exact_up_to_the_border(dim):
    grid = oblique(SHAPES[dim])
    random = np.random.default_rng(0)
    curve = random.standard_normal((dim, dim, dim))
    field = on_points(lambda x: np.einsum("nd,cde,ne->nc", x, curve, x), grid)
    expected = ((2 * np.einsum("cdd->c", curve)) ** 2).sum()
    assert cost("curvature", field, grid) == pytest.approx(expected, rel=1e-8)
    # mixed derivatives of a sheared grid come from slopes, exact for parabolas in the interior
    affine = grid.affine.copy()
    affine[:-1, -2] += 0.3 * affine[:-1, 0]
    sheared = Grid(grid.shape, affine)
    field = on_points(lambda x: np.einsum("nd,cde,ne->nc", x, curve, x), sheared)
    found = laplacian(field, sheared)[(..., *(slice(2, -2),) * dim)]
    exact = torch.tensor(2 * np.einsum("cdd->c", curve)).view(1, dim, *(1,) * dim)
    assert float((found - exact).abs().max()) < 1e-8


@both_dimensions
def test_bending_counts_mixed_derivatives_twice(dim):
    grid = centred((41, 41, 3)[:dim], 1.0)
    field = on_points(lambda x: np.stack([x[:, 0] * x[:, 1], *(0 * x[:, 1:]).T], -1), grid)
    # xy has no error at the border: one-sided differences of a linear function are exact
    assert cost("bending", field, grid) == pytest.approx(2, rel=1e-9)


def waves(grid: Grid) -> torch.Tensor:
    """A smooth field of the world that is zero where the grid ends."""

    def field(x):
        middle, half = grid.centre, grid.extent / 2
        local = (x - middle) @ grid.direction / half  # -1 to 1 along the axes
        fade = np.prod(np.cos(np.pi / 2 * np.clip(local, -1, 1)) ** 4, -1)
        return np.stack(
            [(d + 3) * fade * np.sin(2 * local[:, d - 1] + d) for d in range(grid.dim)], -1
        )

    return on_points(field, grid)


@every_penalty
@both_dimensions
def test_a_finer_grid_gives_the_same_value(name, dim):
    count = 28
    coarse = oblique((count,) * dim, spacing=(1.5, 2.0, 1.0)[:dim])
    affine = coarse.affine.copy()
    affine[:-1, :-1] /= 2
    affine[:-1, -1] = coarse.to_world(np.full(dim, -0.25))
    fine = Grid((2 * count,) * dim, affine)
    assert np.allclose(coarse.centre, fine.centre)
    strength = 4 if name == "folding" else 1
    one = cost(name, strength * waves(coarse), coarse)
    other = cost(name, strength * waves(fine), fine)
    assert one > 1e-4
    assert other == pytest.approx(one, rel=0.12)


@every_penalty
@both_dimensions
def test_nothing_changes_under_a_rigid_change_of_world(name, dim):
    grid, turned = oblique(SHAPES[dim], seed=1), oblique(SHAPES[dim], seed=2, shift=50)
    change = turned.direction @ grid.direction.T
    field = 2 * noise(SHAPES[dim], sigma=1, channels=dim, dtype=torch.float64)
    moved = torch.einsum("de,be...->bd...", torch.tensor(change), field)
    assert cost(name, moved, turned) == pytest.approx(cost(name, field, grid), rel=1e-9)


@every_penalty
@both_dimensions
def test_the_gradient_is_finite_differences(name, dim):
    grid = oblique(SHAPES[dim])
    field = 2 * noise(SHAPES[dim], sigma=1, channels=dim, dtype=torch.float64)
    way = noise(SHAPES[dim], seed=1, sigma=1, channels=dim, dtype=torch.float64)
    alignment = aligned(field, grid)
    build(name)(alignment).sum().backward()
    slope = float((alignment.transform.field.grad * way).sum())
    values = [cost(name, field + step * way, grid) for step in (1e-6, -1e-6)]
    assert abs(slope) > 1e-4
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


@every_penalty
@both_dimensions
def test_pairs_of_a_batch_do_not_mix(name, dim):
    grid = oblique(SHAPES[dim])
    fields = 2 * noise(SHAPES[dim], sigma=1, batch=3, channels=dim, dtype=torch.float64)
    whole = build(name)(aligned(fields, grid)).detach()
    each = [cost(name, fields[b : b + 1], grid) for b in range(3)]
    assert np.allclose(whole.numpy(), each, rtol=1e-10)


@every_penalty
def test_an_axis_of_one_voxel_does_no_harm(name):
    field = 3 * noise((14, 13, 1), sigma=0, channels=3, dtype=torch.float64)
    assert 0.01 < cost(name, field, Grid((14, 13, 1), np.diag([1.0, 1, 5, 1]))) < np.inf


def test_folding_is_exact_on_a_slab_turned_inside_out():
    grid = centred((40, 5, 6), (1.0, 2.0, 0.5))
    # x runs backwards at half speed over 10 of 40 mm: the determinant is -0.5 there
    edges = [-20.0, -5, 5, 20]
    field = on_points(
        lambda x: np.stack(
            [np.interp(x[:, 0], edges, [0, 0, -15, -15]), 0 * x[:, 1], 0 * x[:, 2]], -1
        ),
        grid,
    )
    alignment = aligned(field, grid)
    determinant = alignment.jacobian.detach()[0, 0, :, 2, 3].numpy()
    assert np.allclose(determinant[16:24], -0.5)
    # central differences see half of the bend where it begins
    assert np.allclose(determinant[[15, 24]], -0.125)
    assert np.allclose(determinant[[14, 25]], 0.625)
    assert np.allclose(np.delete(determinant, np.arange(14, 26)), 1)
    # of the 40 planes exactly those ten fold
    assert (determinant <= 0).mean() == 10 / 40
    assert cost("folding", field, grid) == pytest.approx((8 * 0.5 + 2 * 0.125) / 40, abs=1e-12)

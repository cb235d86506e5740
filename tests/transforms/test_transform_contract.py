"""What holds for every registered transform, and for one that a user writes."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from coincide.space.grid import Grid
from coincide.transforms.composite import Composite
from coincide.transforms.jacobian import determinant
from coincide.transforms.linear import Affine, Linear
from random_transforms import MARGIN, NAMES, NETWORKS, SHAPES, inner, interior, plain, randomised
from worlds import noise, oblique

every_transform = pytest.mark.parametrize("name", NAMES)
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


@every_transform
@both_dimensions
def test_what_is_made_from_text_is_the_identity_on_any_grid(name, dim):
    grid = oblique(SHAPES[dim])
    transform = plain(name).on(grid)
    points = interior(grid)
    assert float((transform(points) - points).abs().max()) < 1e-10
    assert float(transform.displacement(grid).abs().max()) < 1e-5
    assert transform.displacement(grid).shape == (1, dim, *grid.shape)


@every_transform
@both_dimensions
def test_what_has_no_grid_yet_is_the_identity_or_says_what_to_do(name, dim):
    grid = oblique(SHAPES[dim])
    transform = plain(name)
    for ask in (
        lambda: transform(interior(grid)) - interior(grid),
        lambda: transform.displacement(grid),
    ):
        try:
            moved = ask()
        except ValueError as error:
            assert "call .on(grid) first" in str(error)  # noqa: PT017
        else:
            assert float(moved.abs().max()) == 0


@every_transform
@both_dimensions
def test_the_inverse_leads_back_within_a_tenth_of_a_voxel(name, dim):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid, size=0.6)
    points = interior(grid)
    moved = transform(points)
    assert float((moved - points).norm(dim=-1).mean()) > 0.25
    back = transform.inverse()
    voxels = torch.tensor(grid.inverse[:-1, :-1].T)
    for there in (back(moved), transform(back(points))):
        assert float(((there - points) @ voxels).norm(dim=-1).max()) < 0.1


@every_transform
@both_dimensions
@pytest.mark.parametrize("seed", [3, 4])
def test_the_displacement_of_a_grid_is_how_far_its_points_go(name, dim, seed):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid)
    other = oblique((9, 8, 7)[:dim], seed=seed, spacing=0.7)
    for where in (grid.crop((MARGIN,) * dim, [n - MARGIN for n in grid.shape]), other):
        points = where.points()
        expected = (transform(points) - points).transpose(1, 2).reshape(1, dim, *where.shape)
        assert float(expected.abs().max()) > 0.3
        assert float((transform.displacement(where) - expected).abs().max()) < 2e-4


@every_transform
@both_dimensions
def test_a_displacement_made_before_is_carried_along(name, dim):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid)
    small = grid.crop((MARGIN,) * dim, [n - MARGIN for n in grid.shape])
    first = noise(small.shape, seed=5, sigma=2, channels=dim)
    moved = small.points() + first.double().flatten(2).transpose(1, 2)
    expected = (transform(moved) - small.points()).transpose(1, 2).reshape(first.shape)
    assert float((transform.displacement(small, first) - expected).abs().max()) < 2e-4


@every_transform
@both_dimensions
def test_composition_applies_the_inner_transform_first(name, dim):
    grid = oblique(SHAPES[dim])
    a, b = randomised(name, grid, seed=1), randomised("affine", grid, seed=2)
    points = interior(grid)
    assert torch.equal((a @ b)(points), a(b(points)))
    assert torch.equal((b @ a)(points), b(a(points)))
    small = grid.crop((6,) * dim, [n - 6 for n in grid.shape])
    for chain in (a @ b, b @ a):
        expected = chain(small.points()) - small.points()
        found = chain.displacement(small).flatten(2).transpose(1, 2)
        assert float((found - expected).abs().max()) < 2e-4


@both_dimensions
def test_the_order_of_two_affine_maps_matters_as_for_their_matrices(dim):
    grid = oblique(SHAPES[dim])
    a, b = randomised("affine", grid, seed=1, size=4), randomised("affine", grid, seed=2, size=4)
    points = interior(grid)
    product = Affine(a.numpy() @ b.numpy())
    swapped = Affine(b.numpy() @ a.numpy())
    assert torch.allclose((a @ b)(points), product(points), atol=1e-9)
    assert float((product(points) - swapped(points)).abs().max()) > 0.1


@every_transform
@both_dimensions
def test_composition_is_associative(name, dim):
    grid = oblique(SHAPES[dim])
    a, b, c = (randomised(n, grid, seed=s) for s, n in enumerate((name, "rigid", name)))
    points = interior(grid)
    one, other = (a @ b) @ c, a @ (b @ c)
    assert len(list(one)) == len(list(other)) == 3
    assert torch.equal(one(points), other(points))
    back = one.inverse()
    assert isinstance(back, Composite)
    calm = [randomised(n, grid, seed=s, size=0.3) for s, n in enumerate((name, "rigid", name))]
    chain = calm[0] @ calm[1] @ calm[2]
    assert float((chain.inverse()(chain(points)) - points).norm(dim=-1).max()) < 0.1


@every_transform
@both_dimensions
def test_the_jacobian_determinant_is_that_of_finite_differences_of_points(name, dim):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid)
    found = determinant(transform.displacement(grid), grid)[inner(grid)].flatten()
    points = grid.points().reshape(*grid.shape, dim)[inner(grid)[2:]].reshape(1, -1, dim)
    columns = []
    for axis in range(dim):
        step = torch.tensor(grid.affine[:-1, axis])
        columns.append((transform(points + step) - transform(points - step))[0] / 2)
    moved = np.stack([c.numpy() for c in columns], -1)
    expected = np.linalg.det(moved @ grid.inverse[:-1, :-1])
    assert np.abs(found.numpy() - expected).max() < 1e-3
    if name != "translation" and name != "rigid":
        assert np.abs(expected - 1).max() > 0.02


@every_transform
@both_dimensions
def test_nothing_changes_under_a_rigid_change_of_world(name, dim):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid)
    change = np.eye(dim + 1)
    if dim == 3:
        change[:-1, :-1] = Rotation.from_rotvec([0.4, -1.1, 0.3]).as_matrix()
    else:
        change[:-1, :-1] = [[np.cos(1), -np.sin(1)], [np.sin(1), np.cos(1)]]
    change[:-1, -1] = (30, -20, 10)[:dim]
    turn = torch.tensor(change[:-1, :-1])
    moved = Grid(grid.shape, change @ grid.affine)
    if isinstance(transform, Linear):
        matrix = change @ transform.numpy() @ np.linalg.inv(change)
        other = type(transform)(matrix).on(moved)
    elif name in NETWORKS:
        other = plain(name).on(moved)
        other.load_state_dict(transform.state_dict())
    else:
        other = plain(name).on(moved)
        for mine, theirs in zip(other.parameters(), transform.parameters(), strict=True):
            mine.data = torch.einsum("de,be...->bd...", turn.to(theirs.dtype), theirs.data)
    points = interior(grid)
    there = points @ turn.T + torch.tensor(change[:-1, -1])
    expected = transform(points) @ turn.T + torch.tensor(change[:-1, -1])
    assert float((other(there) - expected).abs().max()) < 1e-4
    small = moved.crop((MARGIN,) * dim, [n - MARGIN for n in grid.shape])
    back = torch.einsum("ed,be...->bd...", turn.float(), other.displacement(small))
    assert float((back - transform.displacement(grid)[inner(grid)]).abs().max()) < 1e-4


@every_transform
@both_dimensions
def test_a_finer_grid_keeps_the_map(name, dim):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid.shrink((2,) * dim))
    finer = transform.on(grid)
    gap = (finer(interior(grid)) - transform(interior(grid))).norm(dim=-1)
    assert float(gap.max()) < (0.15 if "velocity" in name or name == "symmetric" else 2e-2)


@every_transform
@both_dimensions
def test_the_gradient_of_every_parameter_is_finite_differences(name, dim):
    grid = oblique((7, 8, 6)[:dim])
    transform = randomised(name, grid).double().requires_grad_(True)
    points = torch.tensor(grid.to_world(np.random.default_rng(1).uniform(1, 5, (20, dim))))[None]
    weight = torch.randn(1, 20, dim, generator=torch.Generator().manual_seed(0)).double()
    parameters = [p for p in transform.parameters() if p.numel()]
    slopes = torch.autograd.grad((weight * transform(points)).sum(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        seed = torch.Generator().manual_seed(1)
        way = torch.randn(parameter.shape, generator=seed, dtype=torch.float64)
        values = []
        start = parameter.data
        for step in (1e-6, -1e-6):
            parameter.data = start + step * way
            values.append(float((weight * transform(points)).sum().detach()))
        parameter.data = start
        expected = (values[0] - values[1]) / 2e-6
        assert float((slope * way).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert abs(expected) > 1e-3

from itertools import product

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as Spline

from coincide.alignment import Alignment
from coincide.penalties.bending import Bending
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.bspline import BSpline
from coincide.transforms.displacement import Displacement
from worlds import oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (25, 27), 3: (17, 18, 16)}


def random_spline(grid: Grid, spacing=6.0) -> BSpline:
    transform = BSpline(spacing).on(grid)
    values = np.random.default_rng(0).standard_normal(transform.coefficients.shape)
    transform.coefficients.data = torch.tensor(2 * values, dtype=torch.float64)
    return transform.requires_grad_(False)


def axis_matrix(count: int, positions: np.ndarray, order: int) -> np.ndarray:
    """SciPy's values (or derivatives) at lattice positions of splines centred on whole numbers."""
    spline = Spline(np.arange(count + 4) - 2.0, np.eye(count), 3)
    return (spline.derivative(order) if order else spline)(positions)


@both_dimensions
def test_points_are_moved_by_the_splines_of_scipy(dim):
    grid = oblique(SHAPES[dim])
    transform = random_spline(grid)
    own = transform.grid
    index = np.random.default_rng(1).uniform(1, np.array(own.shape) - 2, (40, dim))
    points = torch.tensor(own.to_world(index))[None]
    moved = (transform(points) - points)[0].numpy()
    letters = "ijk"[:dim]
    rows = [axis_matrix(n, index[:, d], 0) for d, n in enumerate(own.shape)]
    formula = f"c{letters}," + ",".join(f"p{a}" for a in letters) + "->pc"
    expected = np.einsum(formula, transform.coefficients[0].numpy(), *rows)
    assert np.abs(moved - expected).max() < 1e-10


@both_dimensions
def test_refinement_is_exact(dim):
    grid = oblique(SHAPES[dim])
    transform = random_spline(grid, spacing=8.0)
    finer = transform.refined().refined().requires_grad_(False)
    assert np.allclose(finer.grid.spacing, transform.grid.spacing / 4)
    points = grid.points()
    assert float((finer(points) - transform(points)).abs().max()) < 1e-10
    assert float(finer.bending()) == pytest.approx(float(transform.bending()), rel=1e-6)


@both_dimensions
def test_control_points_on_a_linear_map_give_the_linear_map(dim):
    grid = oblique(SHAPES[dim])
    transform = random_spline(grid)
    matrix = 0.1 * np.random.default_rng(2).standard_normal((dim, dim))
    values = transform.grid.points() @ torch.tensor(matrix.T) + 1.5
    transform.coefficients.data = values.transpose(1, 2).reshape(1, dim, *transform.grid.shape)
    points = grid.points()
    expected = points + points @ torch.tensor(matrix.T) + 1.5
    assert float((transform(points) - expected).abs().max()) < 1e-10
    assert float(transform.bending()) < 1e-12


@both_dimensions
def test_the_domain_covers_every_voxel(dim):
    grid = oblique(SHAPES[dim])
    transform = random_spline(grid)
    transform.coefficients.data.fill_(1.0)
    assert float((transform.displacement(grid) - 1).abs().max()) < 1e-6


def quadrature(transform: BSpline) -> float:
    """Mean over the domain of the squared world second derivatives, Gauss points in every cell."""
    own = transform.grid
    nodes, weights = np.polynomial.legendre.leggauss(4)
    tables, shares = [], []
    for n in own.shape:
        cells = np.arange(1, n - 2)
        x = (cells[:, None] + (nodes + 1) / 2).ravel()
        tables.append([axis_matrix(n, x, order) for order in range(3)])
        shares.append(np.tile(weights / 2, len(cells)) / len(cells))
    letters, places = "ijk"[: own.dim], "xyz"[: own.dim]
    formula = f"c{letters}," + ",".join(p + a for p, a in zip(places, letters, strict=True))
    formula += f"->c{places}"
    second = {}
    for e, g in product(range(own.dim), repeat=2):
        rows = [tables[d][(d == e) + (d == g)] for d in range(own.dim)]
        second[e, g] = np.einsum(formula, transform.coefficients[0].numpy(), *rows)
    to_index = own.inverse[:-1, :-1]
    total = 0.0
    for a, b in product(range(own.dim), repeat=2):
        world = sum(to_index[e, a] * to_index[g, b] * s for (e, g), s in second.items())
        share = shares[0]
        for one in shares[1:]:
            share = share[..., None] * one
        total += (share * world**2).sum()
    return total


@both_dimensions
def test_closed_form_bending_is_the_quadrature_of_exact_second_derivatives(dim):
    transform = random_spline(oblique(SHAPES[dim]))
    assert float(transform.bending()) == pytest.approx(quadrature(transform), rel=1e-5)


@both_dimensions
def test_closed_form_bending_holds_on_a_sheared_grid(dim):
    grid = oblique(SHAPES[dim])
    affine = grid.affine.copy()
    affine[:-1, -2] += 0.4 * affine[:-1, 0]
    transform = random_spline(Grid(grid.shape, affine))
    assert float(transform.bending()) == pytest.approx(quadrature(transform), rel=1e-5)


@both_dimensions
def test_closed_form_bending_is_near_that_of_the_dense_field(dim):
    coarse = random_spline(oblique((9, 9, 9)[:dim], spacing=4.0), spacing=16.0)
    own = coarse.grid
    cells = np.array(own.shape) - 3
    # fine voxels that fill the domain exactly
    affine = own.affine.copy()
    affine[:-1, :-1] /= 12
    affine[:-1, -1] = own.to_world(np.ones(dim) + 0.5 / 12)
    dense = Grid(tuple(12 * cells), affine)
    field = coarse.displacement(dense).detach()
    blank = Image(torch.zeros(1, 1, *dense.shape), dense)
    found = Bending()(Alignment(blank, blank, Displacement(field=field, grid=dense)))
    # one-sided differences at the border see half of the curvature there
    assert float(found.detach()) == pytest.approx(float(coarse.bending().detach()), rel=0.15)


@both_dimensions
def test_the_separable_field_is_the_map_of_points(dim):
    grid = oblique(SHAPES[dim])
    transform = random_spline(grid)
    points = grid.points()
    expected = (transform(points) - points).transpose(1, 2).reshape(1, dim, *grid.shape)
    assert float((transform.displacement(grid) - expected).abs().max()) < 1e-10


def test_levels_end_at_the_spacing_that_was_asked_for():
    grid = oblique((33, 31, 29), spacing=1.0)
    transform = BSpline(5.0)
    spacings = []
    for factor in (4, 2, 1):
        transform = transform.on(grid.shrink((factor,) * 3))
        spacings.append(float(transform.grid.spacing.min()))
    assert spacings == pytest.approx([20, 10, 5])

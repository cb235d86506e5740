import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coincide.space.grid import Grid
from worlds import SHAPES, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
seeds = st.integers(0, 10_000)


@both_dimensions
@given(seed=seeds)
def test_to_index_inverts_to_world(dim, seed):
    grid = oblique(SHAPES[dim], seed=seed)
    index = np.random.default_rng(seed).uniform(-5, 20, (7, dim))
    assert np.allclose(grid.to_index(grid.to_world(index)), index, atol=1e-9)


@both_dimensions
def test_points_are_the_worlds_of_all_voxels_last_axis_fastest(dim):
    grid = oblique(SHAPES[dim])
    index = np.array(list(np.ndindex(*grid.shape)))
    assert np.allclose(grid.points()[0].numpy(), grid.to_world(index), atol=1e-10)
    assert grid.points(torch.float32).dtype == torch.float32


@both_dimensions
@given(seed=seeds, factors=st.tuples(*[st.integers(1, 15)] * 3))
def test_shrinking_keeps_the_centre_and_never_leaves_an_axis_empty(dim, seed, factors):
    grid = oblique(SHAPES[dim], seed=seed)
    small = grid.shrink(factors[:dim])
    assert np.allclose(small.centre, grid.centre, atol=1e-9)
    assert np.allclose(small.spacing, grid.spacing * factors[:dim])
    assert np.allclose(small.direction, grid.direction)
    assert all(n >= 1 for n in small.shape)
    assert (small.extent >= grid.extent - 1e-9).all()


@both_dimensions
def test_factors_are_the_nearest_to_the_spacing_and_leave_four_voxels(dim):
    grid = oblique((32,) * dim, spacing=(1.0, 2.0, 0.5)[:dim])
    assert grid.factors(2.0) == (2, 1, 4)[:dim]
    assert grid.factors(0.0) == (1,) * dim
    assert grid.factors(1e6) == (8,) * dim
    assert all(n >= 4 for n in grid.shrink(grid.factors(1e6)).shape)


@both_dimensions
def test_a_crop_keeps_voxels_where_they_are_even_beyond_the_border(dim):
    grid = oblique(SHAPES[dim])
    part = grid.crop((2,) * dim, (7,) * dim)
    assert part.shape == (5,) * dim
    assert np.allclose(part.to_world(np.zeros(dim)), grid.to_world(np.full(dim, 2)))
    wide = grid.crop((-3,) * dim, [n + 3 for n in grid.shape])
    assert np.allclose(wide.centre, grid.centre)
    assert wide.crop((3,) * dim, [n + 3 for n in grid.shape]) == grid


@both_dimensions
def test_index_in_another_grid_goes_through_the_world(dim):
    one, other = oblique(SHAPES[dim], seed=1), oblique((5,) * dim, seed=2)
    index = np.append(np.arange(dim) + 0.5, 1)
    there = one.index_in(other) @ index
    assert np.allclose(other.to_world(there[:-1]), one.to_world(index[:-1]))


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 0, 1, 1]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.diag([1.0, np.nan, 1, 1]),
        np.diag([1.0, np.inf, 1, 1]),
    ],
    ids=["zero spacing", "parallel axes", "nan", "inf"],
)
def test_an_affine_that_cannot_be_inverted_is_refused(affine):
    with pytest.raises(ValueError, match="cannot be inverted"):
        Grid((4, 4, 4), affine)


def test_an_affine_of_another_size_is_refused():
    with pytest.raises(ValueError, match="2 axes needs a 3x3 affine, got"):
        Grid((4, 4), np.eye(4))


def test_grids_are_equal_by_place_not_by_identity():
    a, b = oblique(SHAPES[3]), oblique(SHAPES[3])
    assert a == b
    assert hash(a) == hash(b)
    assert a != a.crop((1, 0, 0), (11, 12, 11))
    assert a != oblique(SHAPES[3], shift=7.001)


def test_the_affine_of_a_grid_cannot_be_changed_from_outside():
    affine = np.eye(3)
    grid = Grid((3, 3), affine)
    affine[0, 0] = 7
    assert grid.spacing[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 7


def test_equal_grids_have_equal_hashes_however_their_affines_are_rounded():
    affine = np.eye(4)
    affine[0, 3] = 1.000005
    other = affine.copy()
    other[0, 3] += 2e-10
    one, two = Grid((3, 4, 5), affine), Grid((3, 4, 5), other)
    assert one == two
    assert hash(one) == hash(two)

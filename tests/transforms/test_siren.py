import numpy as np
import pytest
import torch

from coincide.files.itk import read_transform, write_transform
from coincide.space.grid import Grid
from coincide.transforms.read_out import COARSEST, FEW, read_out
from coincide.transforms.siren import Siren
from random_transforms import interior, woken
from worlds import oblique


def bent(grid, *, size=3.0, **arguments):
    return woken(Siren(width=32, **arguments).on(grid), size=size).requires_grad_(False)


def moved(transform, grid):
    points = grid.points()
    return (transform(points) - points).transpose(1, 2).reshape(1, grid.dim, *grid.shape)


@pytest.mark.parametrize("activation", ["sine", "relu", "fourier", "hash"])
def test_a_file_gives_back_every_weight_to_the_bit(activation, tmp_path):
    grid = oblique((20, 22, 18))
    transform = bent(grid, omega=7.5, seed=3, activation=activation)
    write_transform(transform, tmp_path / "t.h5", grid=grid)
    again = read_transform(tmp_path / "t.h5")
    assert isinstance(again, Siren)
    assert (again.width, again.omega, again.seed, again.activation) == (32, 7.5, 3, activation)
    mine, theirs = transform.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    points = interior(grid)
    assert torch.equal(again(points), transform(points))


@pytest.mark.parametrize("unit_cube", [False, True])
def test_refining_never_changes_the_map(unit_cube):
    coarse = oblique((9, 11, 10), spacing=4.0)
    transform = bent(coarse, unit_cube=unit_cube)
    fine = Grid(tuple(2 * n for n in coarse.shape), coarse.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    points = interior(coarse, margin=1)
    assert torch.equal(transform.on(fine)(points), transform(points))
    assert float((transform(points) - points).abs().max()) > 1


def test_putting_it_on_a_finer_grid_leaves_the_first_one_alone():
    transform = bent(oblique((9, 11, 10)))
    other = transform.on(oblique((20, 20, 20)))
    with torch.no_grad():
        other.network.last.bias += 1
    points = interior(oblique((9, 11, 10)), margin=1)
    assert float((other(points) - transform(points)).abs().min()) > 0.1


def test_coordinates_are_the_same_along_each_axis_and_those_of_the_unit_cube_are_not():
    grid = Grid((101, 51, 26), np.diag([1.0, 1.0, 4.0, 1.0]))
    far = torch.tensor(grid.to_world(np.array([[100.0, 50, 25]])))
    for unit_cube, expected in (
        (False, (100 / 104, 50 / 104, 100 / 104)),
        (True, (1.0, 1.0, 1.0)),
    ):
        _, back, centre = Siren(unit_cube=unit_cube).on(grid).axes(far)
        np.testing.assert_allclose(((far - centre) @ back.T)[0], expected, atol=1e-12)


@pytest.mark.parametrize("spacing", [1.0, (0.7, 1.0, 3.0)])
def test_a_large_grid_is_read_out_right_to_a_hundredth_of_a_millimetre(spacing):
    coarse = oblique((30, 24, 16), spacing=4.0)
    transform = bent(coarse, size=8.0)
    affine = coarse.affine @ np.diag([*np.broadcast_to(spacing, 3) / 4.0, 1])
    grid = Grid((60, 50, 40), affine)
    assert grid.voxels > FEW
    gap = (transform.displacement(grid) - moved(transform, grid)).norm(dim=1)
    assert float(gap.max()) < 0.01


def test_a_lattice_that_is_coarse_enough_saves_most_of_the_work():
    grid = oblique((60, 50, 40))
    transform = bent(oblique((30, 24, 16), spacing=4.0))
    asked = []

    def shift(points):
        asked.append(points.shape[1])
        return transform.shift(points)

    read_out(shift, grid)
    assert sum(asked) < grid.voxels / 4


def test_what_is_not_smooth_is_read_out_voxel_by_voxel():
    grid = oblique((60, 50, 40))
    rough = bent(grid, omega=300.0)
    gap = (rough.displacement(grid) - moved(rough, grid)).norm(dim=1)
    assert float(gap.max()) < 1e-3
    assert COARSEST > 1


def test_the_read_out_of_slices_leaves_their_one_voxel_alone():
    grid = Grid((300, 260, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    transform = bent(grid)
    gap = (transform.displacement(grid) - moved(transform, grid)).norm(dim=1)
    assert float(gap.max()) < 0.01


def test_a_gradient_reaches_the_weights_through_the_displacement_of_a_grid():
    grid = oblique((9, 11, 10))
    transform = Siren(width=16).on(grid)
    transform.displacement(grid).square().sum().backward()
    assert transform.network.last.weight.grad is not None


def test_who_cannot_hold_a_network_samples_it_on_a_grid_over_the_same_box():
    grid = oblique((9, 11, 10), spacing=20.0)
    field = Siren().on(grid).field_grid
    assert max(field.shape) == 128
    np.testing.assert_allclose(field.extent, grid.extent, rtol=0.01)
    np.testing.assert_allclose(field.centre, grid.centre)


def test_a_network_without_second_derivatives_says_so():
    grid = oblique((9, 11, 10))
    with pytest.raises(ValueError, match="no second derivative; take 'sine'"):
        Siren(activation="relu").on(grid).hessian(interior(grid, margin=1))

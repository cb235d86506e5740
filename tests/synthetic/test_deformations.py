import numpy as np
import pytest
import torch

from coincide.space.grid import Grid
from coincide.synthetic.deformations import random_affine, smooth_displacement
from coincide.synthetic.phantoms import centred
from coincide.transforms.jacobian import determinant

GRIDS = {
    "2-D": centred((40, 32), (1, 1.5)),
    "3-D": centred((24, 20, 22), (2, 2, 2.5)),
    "oblique": Grid(
        (20, 18, 16), np.array([[0, 2, 0.2, 5], [-2, 0, 0.1, -30], [0, 0.3, 3, 12], [0, 0, 0, 1]])
    ),
}
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)


@every_grid
def test_the_peak_is_reached_exactly(grid):
    field = smooth_displacement(grid, peak=3.5, sigma=9, seed=2).displacement(grid).detach()
    assert float(field.norm(dim=1).max()) == pytest.approx(3.5, rel=1e-6)


@every_grid
@pytest.mark.parametrize("seed", range(5))
def test_a_peak_of_a_third_of_sigma_does_not_fold(grid, seed):
    field = smooth_displacement(grid, peak=4, sigma=12, seed=seed).displacement(grid).detach()
    assert float(determinant(field, grid).min()) > 0.1


@every_grid
def test_the_displacement_dies_away_at_the_border(grid):
    field = smooth_displacement(grid, peak=4, sigma=6, seed=1).displacement(grid).detach()
    size = field.norm(dim=1)[0]
    for axis in range(grid.dim):
        assert float(size.select(axis, 0).max()) < 0.3
        assert float(size.select(axis, -1).max()) < 0.3


def test_the_same_seed_gives_the_same_bits():
    grid = GRIDS["3-D"]
    fields = [smooth_displacement(grid, peak=2, sigma=8, seed=s).field for s in (7, 7, 8)]
    assert torch.equal(fields[0], fields[1])
    assert not torch.equal(fields[0], fields[2])


def test_a_finer_grid_samples_the_same_displacement():
    coarse, fine = centred((20, 20, 20), 3), centred((60, 60, 60), 1)
    u = smooth_displacement(coarse, peak=4, sigma=12, seed=3).field.detach()
    v = smooth_displacement(fine, peak=4, sigma=12, seed=3).field.detach()
    assert float((u - v[..., 1::3, 1::3, 1::3]).abs().max()) < 0.15


def test_one_slice_of_three_axes_moves_too():
    grid = centred((24, 24, 1), (1, 1, 5))
    field = smooth_displacement(grid, peak=2, sigma=8).displacement(grid).detach()
    assert float(field.norm(dim=1).max()) == pytest.approx(2, rel=1e-6)


@every_grid
@pytest.mark.parametrize("seed", range(3))
def test_a_random_affine_stays_within_its_limits(grid, seed):
    matrix = random_affine(grid, degrees=15, shift=6, scale=0.2, seed=seed).numpy()
    stretch = np.linalg.svd(matrix[:-1, :-1], compute_uv=False)
    assert (stretch <= 1.2 + 1e-9).all()
    assert (stretch >= 1 / 1.2 - 1e-9).all()
    centre = grid.centre
    moved = matrix[:-1, :-1] @ centre + matrix[:-1, -1] - centre
    assert (np.abs(moved) <= 6 + 1e-9).all()
    assert np.linalg.det(matrix) > 0
    assert np.array_equal(
        matrix, random_affine(grid, degrees=15, shift=6, scale=0.2, seed=seed).numpy()
    )


def test_a_rotation_alone_is_rigid():
    matrix = random_affine(GRIDS["oblique"], degrees=40, shift=0, scale=0, seed=1).numpy()[:-1, :-1]
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert not np.allclose(matrix, np.eye(3), atol=0.05)

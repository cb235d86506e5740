import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from coincide.space.grid import Grid
from coincide.transforms.displacement import invert
from coincide.transforms.jacobian import determinant, gradient
from worlds import SHAPES, noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)


def sheared(dim):
    grid = oblique(SHAPES[dim])
    affine = grid.affine.copy()
    affine[:-1, -2] += 0.3 * affine[:-1, 0]
    return Grid(grid.shape, affine)


@both_dimensions
@precisions
def test_the_compiled_determinant_agrees_with_the_differentiable_one(dim, dtype, tolerance):
    grid = sheared(dim)
    field = 0.7 * noise(SHAPES[dim], seed=1, batch=2, channels=dim, dtype=dtype)
    found = determinant(field, grid)
    expected = determinant(field.double().requires_grad_(), grid).detach()
    assert float(expected.min()) < 0.7
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)


@both_dimensions
def test_the_determinant_is_that_of_numpy_along_the_voxel_axes(dim):
    grid = sheared(dim)
    field = 0.7 * noise(SHAPES[dim], seed=1, channels=dim, dtype=torch.float64)
    index = np.stack(
        [np.stack(np.gradient(field[0, d].numpy()), -1) for d in range(dim)], -2
    )  # (*S, D, axis)
    jacobian = np.eye(dim) + index @ grid.inverse[:-1, :-1]
    assert np.abs(determinant(field, grid)[0, 0].numpy() - np.linalg.det(jacobian)).max() < 1e-10
    world = gradient(field, grid)[0].numpy()
    assert np.abs(np.moveaxis(world, (0, 1), (-2, -1)) + np.eye(dim) - jacobian).max() < 1e-10


@both_dimensions
@precisions
def test_inversion_leaves_no_residual_by_scipy(dim, dtype, tolerance):
    grid = sheared(dim)
    field = 0.5 * noise(SHAPES[dim], seed=1, sigma=2.5, batch=2, channels=dim, dtype=dtype)
    found, residual = invert(field, grid, steps=400, tolerance=tolerance)
    to_voxels = grid.inverse[:-1, :-1]
    u = np.einsum("de,be...->bd...", to_voxels, field.double().numpy())
    w = np.einsum("de,be...->bd...", to_voxels, found.double().numpy())
    for b in range(2):
        at = np.indices(grid.shape) + w[b]
        there = np.stack(
            [map_coordinates(u[b, d], at, order=1, mode="nearest") for d in range(dim)]
        )
        gap = np.linalg.norm(w[b] + there, axis=0)
        assert gap.max() < 3 * tolerance
        assert np.abs(gap - residual[b, 0].numpy()).max() < 3 * tolerance
    assert np.abs(u).max() > 0.5


def test_where_no_inverse_exists_the_residual_says_so():
    grid = Grid((21, 21), np.eye(3))
    x = torch.arange(21.0) - 10
    field = torch.zeros(1, 2, 21, 21)
    field[0, 0] = (-2 * x * torch.exp(-((x / 4) ** 2)))[:, None]  # folds about the middle
    _, residual = invert(field, grid)
    assert float(determinant(field, grid).min()) < 0
    field[0, 0] *= 0.3
    _, calm = invert(field, grid)
    assert float(calm.max()) < 0.01
    assert bool(torch.isfinite(residual).all())

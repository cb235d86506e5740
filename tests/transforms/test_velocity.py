import pytest
import torch

from coincide.space.grid import Grid
from coincide.transforms.bspline_velocity import BSplineVelocity
from coincide.transforms.jacobian import determinant
from coincide.transforms.velocity import Velocity
from worlds import noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (33, 31), 3: (25, 24, 26)}


def flows(grid: Grid):
    """A dense velocity and one of control points, both moving points by several voxels."""
    field = 1.5 * noise(grid.shape, seed=1, sigma=5, channels=grid.dim, dtype=torch.float64)
    dense = Velocity(field=field, grid=grid)
    spline = BSplineVelocity(8.0).on(grid)
    shape = spline.grid.shape
    coefficients = 1.5 * noise(shape, seed=2, sigma=0.7, channels=grid.dim, dtype=torch.float64)
    spline = BSplineVelocity(
        8.0, coefficients=coefficients, grid=spline.grid, field_grid=spline.field_grid
    )
    return dense.requires_grad_(False), spline.requires_grad_(False)


@both_dimensions
def test_flowing_there_and_back_is_the_identity(dim):
    grid = oblique(SHAPES[dim], spacing=1.0)
    small = grid.crop((8,) * dim, [n - 8 for n in grid.shape])
    for flow in flows(grid):
        assert float(flow.displacement(small).norm(dim=1).max()) > 1.3
        for chain in (flow.inverse() @ flow, flow @ flow.inverse()):
            assert float(chain.displacement(small).norm(dim=1).max()) < 0.1


@both_dimensions
def test_a_flow_never_folds(dim):
    grid = oblique(SHAPES[dim], spacing=1.0)
    for flow in flows(grid):
        assert float(determinant(flow.displacement(grid), grid).min()) > 0


@both_dimensions
def test_half_the_velocity_twice_is_the_whole(dim):
    grid = oblique(SHAPES[dim], spacing=1.0)
    small = grid.crop((8,) * dim, [n - 8 for n in grid.shape])
    whole, _ = flows(grid)
    half = Velocity(field=whole.field / 2, grid=grid).requires_grad_(False)
    gap = (half @ half).displacement(small) - whole.displacement(small)
    assert float(gap.norm(dim=1).max()) < 2e-2

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from coincide.kernels.radial import radial_sum_at
from coincide.space.grid import Grid
from worlds import SHAPES, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim) -> tuple[Grid, torch.Tensor, torch.Tensor]:
    grid = oblique(SHAPES[dim])
    random = np.random.default_rng(0)
    index = random.uniform(0, np.array(grid.shape) - 1, (7, dim))
    index[0] = 3  # on a voxel
    centres = torch.tensor(grid.to_world(index))
    return grid, centres, torch.tensor(random.standard_normal((2, 4, 7)))


@both_dimensions
def test_kernels_are_those_of_scipy(dim):
    grid, centres, _ = problem(dim)
    name, degree = {2: ("thin_plate_spline", 1), 3: ("linear", 1)}[dim]
    values = np.random.default_rng(1).standard_normal(7)
    theirs = RBFInterpolator(centres.numpy(), values, kernel=name, degree=degree)
    one = torch.eye(7, dtype=torch.float64)[None]
    ours = radial_sum_at(centres[None], centres, one)[0]
    columns = torch.cat([ours, torch.ones(7, 1), centres], 1)
    sides = torch.cat([torch.ones(7, 1), centres], 1).T
    whole = torch.cat([columns, torch.cat([sides, torch.zeros(dim + 1, dim + 1)], 1)])
    solved = torch.linalg.solve(whole, torch.tensor([*values, *[0.0] * (dim + 1)]))
    points = grid.points()[0, ::11]
    found = radial_sum_at(points[None], centres, solved[None, None, :7])[0, :, 0]
    found = found + solved[7] + points @ solved[8:]
    np.testing.assert_allclose(found.numpy(), theirs(points.numpy()), rtol=1e-7, atol=1e-8)

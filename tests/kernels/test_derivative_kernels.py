import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from coincide.kernels import volume
from coincide.kernels.derivatives import slopes, squared_slope
from coincide.kernels.derivatives import torch as plain_derivatives
from coincide.kernels.laplacian import laplacian
from coincide.kernels.laplacian import torch as plain_laplacian
from coincide.kernels.volume import torch as plain_volume
from coincide.space.grid import Grid
from worlds import SHAPES, noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)
thin = pytest.mark.parametrize(
    "shape", [(1, 5, 4), (5, 2, 3), (2, 1, 3), (3, 3, 1), (4, 6, 2), (1, 4), (2, 3)], ids=str
)


def sheared(shape) -> Grid:
    grid = oblique(shape)
    affine = grid.affine.copy()
    affine[:-1, -2] += 0.3 * affine[:-1, 0]
    return Grid(grid.shape, affine)


MEASURES = {
    "slopes": (slopes, plain_derivatives.slopes, "inverse"),
    "squared_slope": (squared_slope, plain_derivatives.squared_slope, "inverse"),
    "determinant": (volume.determinant, plain_volume.determinant, "inverse"),
    "faces": (volume.faces, plain_volume.faces, "affine"),
    "laplacian": (laplacian, plain_laplacian.laplacian, "weight"),
}
every_measure = pytest.mark.parametrize("name", MEASURES)


def measured(name: str, grid: Grid):
    """The compiled measure and the reference on a grid, as functions of a field."""
    compiled, plain, needs = MEASURES[name]
    inverse, affine = grid.inverse[:-1, :-1], grid.affine[:-1, :-1]
    weight = np.array([0.3, 1.2, 0.7])[: grid.dim]
    given = {"inverse": inverse, "affine": affine, "weight": weight}[needs]
    return (lambda u: compiled(u, given)), (lambda u: plain(u, given))


@every_measure
@thin
def test_the_gradient_of_a_measure_is_finite_differences_on_thin_grids(name, shape):
    compiled, plain = measured(name, sheared(shape))
    field = 0.5 * noise(shape, seed=1, sigma=0, channels=len(shape), dtype=torch.float64)
    torch.testing.assert_close(compiled(field), plain(field), rtol=1e-10, atol=1e-10)
    assert gradcheck(compiled, field.requires_grad_())


@both_dimensions
def test_slopes_are_those_of_numpy_along_the_voxel_axes(dim):
    grid = sheared(SHAPES[dim])
    field = noise(SHAPES[dim], seed=1, channels=2, dtype=torch.float64)
    index = np.stack([np.stack(np.gradient(field[0, c].numpy()), -1) for c in range(2)])
    world = np.moveaxis(index @ grid.inverse[:-1, :-1], -1, 1)
    found = slopes(field, grid.inverse[:-1, :-1])[0].numpy()
    assert np.abs(found - world).max() < 1e-10


@both_dimensions
def test_the_laplacian_of_a_parabola_is_exact_up_to_the_border(dim):
    index = np.indices(SHAPES[dim])
    weight = np.array([2.0, 0.5, 3.0])[:dim]
    curve = np.array([1.5, -2.0, 0.25])[:dim]
    values = np.tensordot(curve, index**2, 1) + np.tensordot(np.ones(dim), index, 1)
    found = laplacian(torch.tensor(values)[None, None], weight)
    assert float((found - 2 * (weight * curve).sum()).abs().max()) < 1e-10


@both_dimensions
def test_the_faces_of_a_stretched_voxel_are_known(dim):
    grid = oblique(SHAPES[dim])
    stretch = np.array([1.3, 0.8, 2.0])[:dim]
    # along the voxel axes, so that each face grows with the other axes
    matrix = grid.direction @ np.diag(stretch - 1) @ grid.direction.T
    field = torch.tensor((grid.points()[0].numpy() @ matrix.T).T.reshape(1, dim, *SHAPES[dim]))
    found = volume.faces(field, grid.affine[:-1, :-1])
    expected = (stretch.prod() / stretch) ** 2
    assert np.abs(found[0].flatten(1).numpy() - expected[:, None]).max() < 1e-9

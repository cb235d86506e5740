import numpy as np
import pytest
import torch

from coincide.registry import build, parts
from coincide.transforms.linear import Affine, Linear, Rigid
from worlds import oblique

every_linear = pytest.mark.parametrize("name", parts(Linear))
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (25, 27), 3: (17, 18, 16)}


@every_linear
@both_dimensions
def test_a_parameter_is_how_far_it_moves_a_point_at_the_radius(name, dim):
    grid = oblique(SHAPES[dim])
    transform = build(name).on(grid)
    sphere = np.random.default_rng(0).standard_normal((20_000, dim))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    points = torch.tensor(grid.centre + transform.radius * sphere)[None]
    assert transform.radius == pytest.approx(np.linalg.norm(grid.extent) / 4)
    for parameter in transform.parameters():
        for n in range(parameter.numel()):
            parameter.data.view(-1)[n] = 0.01
            far = (transform(points) - points).norm(dim=-1).max() / 0.01
            assert far.item() == pytest.approx(1, rel=0.02)
            parameter.data.zero_()


@both_dimensions
@pytest.mark.parametrize("size", [1, 30, 300])
def test_rigid_stays_a_rotation_however_far_it_turns(dim, size):
    transform = Rigid().on(oblique(SHAPES[dim]))
    random = np.random.default_rng(size)
    transform.parameters_mm.data = torch.tensor(
        size * random.standard_normal((1, dim * (dim - 1) // 2))
    )
    matrix = transform.numpy()[:-1, :-1]
    assert np.allclose(matrix @ matrix.T, np.eye(dim), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)


@both_dimensions
def test_similarity_is_one_scale_and_a_rotation(dim):
    transform = build("similarity").on(oblique(SHAPES[dim]))
    values = np.random.default_rng(0).standard_normal((1, dim * (dim - 1) // 2 + 1))
    transform.parameters_mm.data = torch.tensor(3 * values)
    matrix = transform.numpy()[:-1, :-1]
    scale = np.exp(3 * values[0, -1] / transform.radius)
    assert np.allclose(matrix @ matrix.T, scale**2 * np.eye(dim))


@every_linear
@both_dimensions
def test_a_start_is_kept_wherever_it_is_placed(name, dim):
    matrix = np.eye(dim + 1)
    matrix[:-1, -1] = np.arange(dim) + 3.0
    angle = 0.3
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    transform = build(name)
    placed = type(transform)(matrix).on(oblique(SHAPES[dim])).on(oblique(SHAPES[dim], seed=4))
    assert np.allclose(placed.numpy(), matrix, atol=1e-10)


@both_dimensions
def test_the_inverse_is_the_inverse_matrix(dim):
    matrix = np.eye(dim + 1)
    matrix[:-1] += 0.2 * np.random.default_rng(0).standard_normal((dim, dim + 1))
    assert np.allclose(Affine(matrix).inverse().numpy(), np.linalg.inv(matrix), atol=1e-12)


@both_dimensions
def test_the_displacement_field_is_as_precise_as_its_voxels_allow(dim):
    grid = oblique(SHAPES[dim], shift=500.0)
    matrix = np.eye(dim + 1)
    matrix[:-1, :-1] += 0.01 * np.random.default_rng(0).standard_normal((dim, dim))
    matrix[:-1, -1] = grid.centre - matrix[:-1, :-1] @ grid.centre
    points = grid.points()
    expected = (Affine(matrix)(points) - points).transpose(1, 2).reshape(1, dim, *grid.shape)
    # 500 mm from the origin a float32 position is only known to 3e-5 mm
    assert (Affine(matrix).displacement(grid) - expected).abs().max().item() < 1e-6

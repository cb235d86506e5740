import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch.autograd import gradcheck

from coincide.kernels.update import compose, exponential, force, largest
from coincide.kernels.warp import torch as torch_warp
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)


def metric(dim):
    a = np.eye(dim) + 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    return a.T @ a


def slopes(values):
    """Central differences of (*S) in voxels, the border continued."""
    parts = []
    for axis in range(values.ndim):
        slope = np.gradient(values, axis=axis)
        edge = [slice(None)] * values.ndim
        for end in (0, -1):
            edge[axis] = end
            slope[tuple(edge)] *= 0.5
        parts.append(slope)
    return np.stack(parts)


@both_dimensions
@precisions
def test_the_force_is_minus_slope_times_the_gradient_of_the_warped_image(dim, dtype, tolerance):
    shape = SHAPES[dim]
    slope = noise(shape, seed=1, batch=2, channels=2, dtype=dtype)
    warped = noise(shape, seed=2, batch=2, channels=2, dtype=dtype)
    out = torch.empty(2, dim, *shape, dtype=dtype)
    force(slope, warped, metric(dim), out=out)
    expected = -sum(
        slope[1, c].double().numpy() * slopes(warped[1, c].double().numpy()) for c in range(2)
    )
    expected = np.einsum("de,e...->d...", metric(dim), expected)
    assert np.abs(out[1].numpy() - expected).max() < tolerance


@both_dimensions
@precisions
def test_composition_is_first_order(dim, dtype, tolerance):
    shape = SHAPES[dim]
    field = noise(shape, seed=1, batch=2, channels=dim, dtype=dtype)
    update = noise(shape, seed=2, batch=2, channels=dim, dtype=dtype)
    out = compose(field, update, 0.3, out=torch.empty_like(field))
    u, w = field[1].double().numpy(), update[1].double().numpy()
    expected = [u[c] + 0.3 * (w[c] + (w * slopes(u[c])).sum(0)) for c in range(dim)]
    assert np.abs(out[1].numpy() - np.stack(expected)).max() < tolerance


@both_dimensions
@precisions
def test_the_largest_vector_is_that_of_numpy(dim, dtype, tolerance):
    field = noise(SHAPES[dim], seed=1, batch=2, channels=dim, dtype=dtype)
    u = field.double().numpy()
    expected = np.sqrt(np.einsum("bd...,de,be...->b...", u, metric(dim), u).max())
    assert largest(field, metric(dim)) == pytest.approx(expected, rel=tolerance)


@both_dimensions
@precisions
def test_scaling_and_squaring_agrees_with_the_reference_warp(dim, dtype, tolerance):
    velocity = 1.5 * noise(SHAPES[dim], seed=1, sigma=2, batch=2, channels=dim, dtype=dtype)
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    found = exponential(velocity, index, scale, 4)
    field = velocity.double() / 2**4
    for _ in range(4):
        field = field + torch_warp.warp(field, field, index, scale, clamp=True)[0]
    torch.testing.assert_close(found.double(), field, rtol=0, atol=tolerance)


@both_dimensions
def test_the_exponential_of_a_linear_velocity_is_the_matrix_exponential(dim):
    shape = (17,) * dim
    a = 0.15 * np.random.default_rng(0).standard_normal((dim, dim))
    voxel = np.indices(shape) - 8.0
    velocity = torch.tensor(np.einsum("de,e...->d...", a, voxel))[None]
    found = exponential(velocity, np.eye(dim, dim + 1), np.eye(dim), 14)[0].numpy()
    expected = np.einsum("de,e...->d...", expm(a) - np.eye(dim), voxel)
    inner = (slice(None), *(slice(5, -5),) * dim)
    assert np.abs(found - expected)[inner].max() < 1e-3
    assert np.abs(expected)[inner].max() > 0.3


@both_dimensions
def test_the_gradient_of_the_exponential_is_finite_differences(dim):
    velocity = noise((4, 4, 3)[:dim], seed=1, sigma=1, channels=dim, dtype=torch.float64)
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    assert gradcheck(lambda v: exponential(v, index, scale, 2), velocity.requires_grad_())

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from coincide.kernels.warp import numba as compiled
from coincide.kernels.warp import torch as plain
from coincide.kernels.warp import warp, warp_linear
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
clamped = pytest.mark.parametrize("clamp", [False, True], ids=["zero outside", "clamped"])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)


def problem(dim, dtype, *, batch=2, channels=2, size=2.5):
    """A volume, a field that leaves it in places, and an affine that scales, shears and shifts."""
    random = np.random.default_rng(dim)
    volume = noise(SHAPES[dim], seed=1, batch=batch, channels=channels, dtype=dtype)
    shape = tuple(n - 2 for n in SHAPES[dim])
    field = size * noise(shape, seed=2, sigma=1, batch=batch, channels=dim, dtype=dtype)
    index = np.concatenate([np.eye(dim), np.full((dim, 1), 0.7)], 1)
    index[:, :-1] += 0.1 * random.standard_normal((dim, dim))
    scale = np.eye(dim) + 0.2 * random.standard_normal((dim, dim))
    return volume, field, index, scale


def positions(field, index, scale):
    """Where each voxel looks, (B, D, *S), written out in float64."""
    voxel = np.indices(field.shape[2:])
    start = np.einsum("de,e...->d...", index[:, :-1], voxel)
    start = start + index[:, -1].reshape(-1, *(1,) * (field.ndim - 2))
    return start + np.einsum("de,be...->bd...", scale, field.double().numpy())


@both_dimensions
@clamped
def test_warping_agrees_with_scipy_up_to_half_a_voxel_beyond_the_border(dim, clamp):
    volume, field, index, scale = problem(dim, torch.float64)
    values, inside = warp(volume, field, index, scale, clamp=clamp)
    at = positions(field, index, scale)
    size = np.array(SHAPES[dim]).reshape(1, -1, *(1,) * dim)
    known = ((at >= -0.5) & (at <= size - 0.5)).all(1)
    assert np.array_equal(inside[:, 0].numpy() > 0, known)
    for b in range(2):
        for c in range(2):
            expected = map_coordinates(volume[b, c].numpy(), at[b], order=1, mode="nearest")
            expected = expected if clamp else expected * known[b]
            assert np.abs(values[b, c].numpy() - expected).max() < 1e-10


@both_dimensions
def test_one_volume_is_shared_by_a_batch_of_fields(dim):
    volume, field, index, scale = problem(dim, torch.float64)
    shared, _ = warp(volume[:1], field, index, scale)
    each = [warp(volume[:1], field[b : b + 1], index, scale)[0] for b in range(2)]
    assert torch.equal(shared, torch.cat(each))


@both_dimensions
@clamped
def test_no_field_is_a_field_of_zeros(dim, clamp):
    volume, field, index, scale = problem(dim, torch.float64)
    found = warp(volume, None, index, scale, shape=tuple(field.shape[2:]), clamp=clamp)
    expected = warp(volume, 0 * field, index, scale, clamp=clamp)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@both_dimensions
@clamped
@pytest.mark.parametrize("version", [compiled, plain], ids=["numba", "torch"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_displacement_that_is_not_a_number_harms_no_other_voxel(dim, clamp, bad, version):
    volume, field, index, scale = problem(dim, torch.float32)
    good, _ = version.warp(volume, field, index, scale, clamp=clamp)
    broken = field.clone()
    broken[(0, slice(None), *(3,) * dim)] = bad
    broken.requires_grad_()
    values, _ = version.warp(volume, broken, index, scale, clamp=clamp)
    values.sum().backward()
    same = torch.ones(len(field), 1, *field.shape[2:], dtype=torch.bool)
    same[(0, 0, *(3,) * dim)] = False
    assert torch.equal(values[same.expand_as(values)], good[same.expand_as(good)])
    assert bool(torch.isfinite(broken.grad[same.expand_as(broken)]).all())


@both_dimensions
@pytest.mark.parametrize("version", [compiled, plain], ids=["numba", "torch"])
def test_on_the_voxels_themselves_the_slope_is_that_to_the_next_one(dim, version):
    """Where every registration begins; at the last voxel, of the last cell."""
    volume = noise(SHAPES[dim], seed=1, dtype=torch.float64)
    field = torch.zeros(1, dim, *SHAPES[dim], dtype=torch.float64, requires_grad=True)
    samples, inside = version.warp(volume, field, np.eye(dim, dim + 1), np.eye(dim))
    torch.testing.assert_close(samples.detach(), volume, rtol=0, atol=1e-12)
    assert bool(inside.all())
    (found,) = torch.autograd.grad(samples.sum(), field)
    for axis in range(dim):
        steps = np.diff(volume[0, 0].numpy(), axis=axis)
        last = np.take(steps, [-1], axis)
        expected = np.concatenate([steps, last], axis)
        assert np.abs(found[0, axis].numpy() - expected).max() < 1e-12


@both_dimensions
@pytest.mark.parametrize("version", [compiled, plain], ids=["numba", "torch"])
def test_a_position_half_a_voxel_beyond_the_border_is_inside_on_either_side(dim, version):
    volume = noise(SHAPES[dim], seed=1, dtype=torch.float64)
    for shift, wanted in ((0.5, True), (-0.5, True), (0.5001, False), (-0.5001, False)):
        field = torch.full((1, dim, *SHAPES[dim]), shift, dtype=torch.float64)
        inside = version.warp(volume, field, np.eye(dim, dim + 1), np.eye(dim))[1]
        assert bool(inside.all()) == wanted


@both_dimensions
@clamped
def test_a_linear_map_has_the_gradient_of_the_field_that_it_makes(dim, clamp):
    volume, _, index, _ = problem(dim, torch.float64)
    matrix = torch.tensor(index, requires_grad=True)
    values, inside = warp_linear(volume, matrix, SHAPES[dim], clamp=clamp)
    same, known = warp(volume, None, index, index[:, :-1], shape=SHAPES[dim], clamp=clamp)
    assert torch.equal(values, same)
    assert torch.equal(inside, known)
    weight = noise(SHAPES[dim], seed=3, batch=2, channels=2, dtype=torch.float64)
    (slope,) = torch.autograd.grad((weight * values).sum(), matrix)
    # a volume that needs a gradient too takes the way by a field
    moved, _ = warp_linear(volume.requires_grad_(), matrix, SHAPES[dim], clamp=clamp)
    (expected,) = torch.autograd.grad((weight * moved).sum(), matrix)
    torch.testing.assert_close(slope, expected, rtol=1e-9, atol=1e-9)

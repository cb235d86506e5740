import numpy as np
import pytest
import torch
from interpreted import DEVICE, Compiled
from table import SHAPES

from coincide.kernels.warp import torch as reference
from worlds import noise

compiled = Compiled("warp")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
clamped = pytest.mark.parametrize("clamp", [False, True], ids=["zero outside", "clamped"])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)], ids=["32", "64"]
)


def problem(dim, dtype=torch.float64, *, channels=2):
    """A volume, a field that leaves it in places, and an affine that scales, shears and shifts."""
    random = np.random.default_rng(dim)
    volume = noise(SHAPES[dim], seed=1, batch=2, channels=channels, dtype=dtype)
    shape = tuple(n - 1 for n in SHAPES[dim])
    field = 2.5 * noise(shape, seed=2, sigma=1, batch=2, channels=dim, dtype=dtype)
    index = np.concatenate([np.eye(dim), np.full((dim, 1), 0.7)], 1)
    index[:, :-1] += 0.1 * random.standard_normal((dim, dim))
    scale = np.eye(dim) + 0.2 * random.standard_normal((dim, dim))
    return volume.to(DEVICE), field.to(DEVICE), index, scale


def close(found, expected, tolerance):
    """Equal up to a part of the largest value."""
    size = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * size)


@both_dimensions
def test_only_the_gradient_that_is_needed_is_computed(dim):
    volume, field, index, scale = problem(dim)
    for one, other in ((volume, field), (field, volume)):
        one.requires_grad_().grad = None
        other.requires_grad_(False)
        compiled.warp(volume, field, index, scale, clamp=True)[0].sum().backward()
        assert float(one.grad.abs().max()) > 0
        assert other.grad is None
        one.requires_grad_(False).grad = None


@both_dimensions
@precisions
def test_a_field_composed_with_itself_agrees_with_the_reference(dim, dtype, tolerance):
    velocity = 0.7 * noise(SHAPES[dim], seed=1, sigma=2, batch=2, channels=dim, dtype=dtype)
    velocity = velocity.to(DEVICE).requires_grad_()
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    results = []
    for room in (compiled, reference):
        field = velocity / 4
        for _ in range(2):
            field = field + room.warp(field, field, index, scale, clamp=True)[0]
        results.append((field, *torch.autograd.grad((field**2).sum(), velocity)))
    for one, other in zip(*results, strict=True):
        close(one, other, 5 * tolerance)


@both_dimensions
@clamped
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_displacement_that_is_not_a_number_harms_no_other_voxel(dim, clamp, bad):
    volume, field, index, scale = problem(dim, torch.float32)
    good, _ = compiled.warp(volume, field, index, scale, clamp=clamp)
    broken = field.clone()
    broken[(0, slice(None), *(3,) * dim)] = bad
    broken.requires_grad_()
    values, _ = compiled.warp(volume, broken, index, scale, clamp=clamp)
    values.sum().backward()
    same = torch.ones(len(field), 1, *field.shape[2:], dtype=torch.bool)
    same[(0, 0, *(3,) * dim)] = False
    assert torch.equal(values[same.expand_as(values)], good[same.expand_as(good)])
    assert bool(torch.isfinite(broken.grad[same.expand_as(broken)]).all())


@both_dimensions
@clamped
@precisions
def test_a_linear_map_agrees_with_the_field_that_it_makes(dim, clamp, dtype, tolerance):
    volume, _, index, _ = problem(dim, dtype)
    shape = tuple(n + 1 for n in SHAPES[dim])
    matrix = torch.tensor(index, requires_grad=True)
    values, inside = compiled.warp_linear(volume, matrix, shape, clamp)
    voxel = torch.tensor(np.indices(shape), dtype=torch.float64)
    field = torch.einsum("de,e...->d...", matrix[:, :-1], voxel)
    field = (field + matrix[:, -1].view(-1, *(1,) * dim))[None].expand(2, *(-1,) * (dim + 1))
    still = np.zeros((dim, dim + 1))
    expected, known = reference.warp(
        volume.double(), field.to(DEVICE), still, np.eye(dim), clamp=clamp
    )
    assert 0.05 < float(1 - known.mean()) < 0.95
    assert torch.equal(inside, known.to(dtype))
    close(values.double(), expected, tolerance)
    weight = noise(shape, seed=3, batch=2, channels=2, dtype=torch.float64).to(DEVICE)
    (slope,) = torch.autograd.grad((weight.to(dtype) * values).sum(), matrix)
    (wanted,) = torch.autograd.grad((weight * expected).sum(), matrix)
    close(slope, wanted, tolerance)


def test_an_axis_of_one_voxel_is_sampled_where_it_lies():
    volume, field, index, scale = problem(2)
    flat = np.zeros((3, 4)), np.eye(3)
    flat[0][np.ix_([0, 2], [0, 2, 3])] = index
    flat[1][np.ix_([0, 2], [0, 2])] = scale
    thick = torch.zeros(2, 3, field.shape[2], 1, field.shape[3], dtype=field.dtype, device=DEVICE)
    thick[:, ::2, :, 0] = field
    found, inside = compiled.warp(volume[:, :, :, None], thick, *flat)
    expected, known = compiled.warp(volume, field, index, scale)
    close(found[:, :, :, 0], expected, 1e-12)
    assert torch.equal(inside[:, :, :, 0], known)

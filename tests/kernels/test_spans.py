import numpy as np
import pytest
import torch
from scipy.ndimage import spline_filter

from coincide.kernels.interpolate import prefilter
from coincide.kernels.lncc import decorrelation
from coincide.kernels.lncc import torch as reference
from coincide.kernels.spans import extents, support, whole, widened
from coincide.kernels.warp import force_along, warp
from worlds import noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (37, 71), 3: (13, 41, 70)}


def ball(dim):
    """Noise inside a ball off the middle, zero outside, and something everywhere."""
    shape = SHAPES[dim]
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    far = sum((a - 0.2) ** 2 for a in axes) > 0.25
    show = noise(shape, seed=3, sigma=1)
    show[:, :, torch.from_numpy(far)] = 0
    return show, noise(shape, seed=4, sigma=1)


def chosen(spans, length):
    """Spans as a mask."""
    k = np.arange(length)
    return (k >= spans[..., :1]) & (k < spans[..., 1:])


def test_extents_are_what_lies_between_background():
    volume = np.zeros((2, 3, 9), np.float32)
    volume[0, 1, 3:6] = 1
    volume[1, 2, 8] = 2
    found = extents(volume)
    assert found[0, 1].tolist() == [3, 6]
    assert found[1, 2].tolist() == [8, 9]
    assert chosen(found, 9).sum() == 4


def test_widened_spans_are_rows_near_a_span():
    spans = np.zeros((5, 6, 2), np.int32)
    spans[2, 3] = 4, 6
    found = chosen(widened(spans, 9, (1, 2, 3)), 9)
    wanted = np.zeros((5, 6, 9), bool)
    wanted[1:4, 1:6, 1:9] = True
    assert np.array_equal(found, wanted)
    assert not widened(np.zeros((5, 6, 2), np.int32), 9, (1, 1, 1)).any()


@both_dimensions
def test_local_correlation_does_not_look_outside_its_spans(dim):
    fixed, warped = ball(dim)
    mask, radius = torch.ones_like(fixed), (2,) * dim
    spans = support(fixed, radius)
    wanted = torch.from_numpy(chosen(spans, fixed.shape[-1])).view(fixed.shape)
    assert 0.2 < float(wanted.float().mean()) < 0.9
    other = torch.where(wanted, warped, torch.full_like(warped, 7)).requires_grad_()
    warped.requires_grad_()
    costs = [decorrelation(fixed, w, mask, radius, 1e-5) for w in (warped, other)]
    one, two = (torch.autograd.grad(c, w)[0] for c, w in zip(costs, (warped, other), strict=True))
    torch.testing.assert_close(*costs)
    # what enters a running sum and leaves it again costs a last digit
    torch.testing.assert_close(one, two, rtol=0, atol=1e-4 * float(one.abs().max()))
    assert not one[~wanted].any()
    assert not two[~wanted].any()
    exact = warped.detach().double().requires_grad_()
    value = reference.decorrelation(fixed.double(), exact, mask.double(), radius, 1e-5)
    (slope,) = torch.autograd.grad(value, exact)
    torch.testing.assert_close(one.double(), slope, rtol=1e-3, atol=1e-3 * float(slope.abs().max()))


@both_dimensions
def test_only_what_is_wanted_is_sampled(dim):
    fixed, volume = ball(dim)
    field = noise(fixed.shape[2:], seed=5, sigma=2, channels=dim)
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    spans = support(fixed, (1,) * dim)
    wanted = torch.from_numpy(chosen(spans, fixed.shape[-1])).view(fixed.shape)
    everything, inside = warp(volume, field, index, scale)
    buffers = torch.empty_like(volume), torch.empty_like(volume)
    some, known = warp(volume, field, index, scale, spans=spans, out=buffers)
    assert some is buffers[0]
    assert torch.equal(known, torch.where(wanted, inside, torch.ones(())))
    assert torch.equal(some, torch.where(wanted, everything, torch.zeros(())))


@both_dimensions
@pytest.mark.parametrize("narrow", [False, True])
def test_the_force_along_a_displacement_is_the_derivative_of_the_samples(dim, narrow):
    fixed, volume = ball(dim)
    volume = torch.cat([volume, fixed], 1)
    field = noise(fixed.shape[2:], seed=6, sigma=2, channels=dim).requires_grad_()
    slope = noise(fixed.shape[2:], seed=7, channels=2)
    spans = support(fixed, (1,) * dim) if narrow else None
    if spans is not None:
        slope = slope * torch.from_numpy(chosen(spans, fixed.shape[-1])).view(fixed.shape)
    metric = np.diag(np.arange(1.0, dim + 1))
    samples, _ = warp(volume, field, np.eye(dim, dim + 1), np.eye(dim))
    (toward,) = torch.autograd.grad(samples, field, slope)
    wanted = -toward * torch.arange(1.0, dim + 1).view(1, -1, *(1,) * dim)
    out = torch.empty_like(wanted)
    force_along(slope, volume, field.detach(), metric, spans=spans, out=out)
    torch.testing.assert_close(out, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 12, 17, 20), (1, 1, 9, 31), (1, 2, 3, 4), (1, 1, 1, 2)])
def test_coefficients_of_splines_agree_with_scipy(shape):
    volume = np.random.default_rng(0).random(shape).astype(np.float32)
    found = volume.copy()
    prefilter(found)
    for one, other in zip(found, volume, strict=True):
        long = [axis for axis, n in enumerate(other.shape) if n > 1]
        room = other.reshape([other.shape[axis] for axis in long]).astype(np.float64)
        wanted = spline_filter(room, 3, mode="mirror").reshape(other.shape)
        assert np.abs(one - wanted).max() < 1e-5


def test_whole_volumes_have_spans_of_full_rows():
    assert chosen(whole((2, 3, 4)), 4).all()

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter, uniform_filter
from torch.autograd import gradcheck

from coincide.kernels.smooth import box, filtered, gaussian
from coincide.kernels.smooth import torch as reference
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)
SIGMA = (1.3, 0.0, 6.0)  # none along one axis; wider than the image along another


@both_dimensions
@precisions
def test_the_gaussian_is_that_of_scipy(dim, dtype, tolerance):
    volume = noise(SHAPES[dim], sigma=0, batch=2, channels=2, dtype=dtype)
    for sigma in (SIGMA[:dim], SIGMA[::-1][:dim], (2.0,) * dim):
        found = gaussian(volume, sigma)
        radius = [int(np.ceil(3 * s)) for s in (0, 0, *sigma)]
        expected = gaussian_filter(
            volume.double().numpy(), (0, 0, *sigma), mode="reflect", radius=radius
        )
        assert np.abs(found.numpy() - expected).max() < tolerance


@both_dimensions
@precisions
def test_the_box_is_that_of_scipy(dim, dtype, tolerance):
    volume = noise(SHAPES[dim], sigma=0, batch=2, channels=2, dtype=dtype)
    radius = (1, 3, 0)[:dim]
    size = (1, 1, *(2 * r + 1 for r in radius))
    expected = uniform_filter(volume.double().numpy(), size, mode="reflect")
    assert np.abs(box(volume, radius).numpy() - expected).max() < tolerance


@both_dimensions
@precisions
def test_any_symmetric_weights_agree_with_the_reference_and_scipy(dim, dtype, tolerance):
    volume = noise(SHAPES[dim], sigma=0, batch=2, channels=2, dtype=dtype)
    weights = [np.array([-0.2, 0.5, 1.0, 0.5, -0.2]), np.array([0.3, 1.0, 0.3]), np.ones(1)][:dim]
    found = filtered(volume, weights)
    wanted = reference.filtered(volume, weights)
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
    expected = volume.double().numpy()
    for axis, weight in enumerate(weights, start=2):
        expected = correlate1d(expected, weight, axis, mode="reflect")
    assert np.abs(found.numpy() - expected).max() < tolerance * 2


@both_dimensions
def test_gradients_of_filters_are_finite_differences(dim):
    volume = noise((4, 5, 3)[:dim], sigma=0, batch=2, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda v: gaussian(v, SIGMA[:dim]), volume)
    assert gradcheck(lambda v: box(v, (2, 1, 1)[:dim]), volume)


@both_dimensions
def test_smoothing_in_place_gives_the_same_bits(dim):
    volume = noise(SHAPES[dim], sigma=0, batch=2, channels=3)
    expected = gaussian(volume, (1.5,) * dim)
    result = gaussian(volume, (1.5,) * dim, out=volume)
    assert result is volume
    assert torch.equal(volume, expected)


def test_an_axis_of_one_voxel_is_left_alone():
    volume = noise((9, 1, 8), sigma=0)
    expected = gaussian(volume[..., 0, :].contiguous(), (1.0, 2.0))
    assert torch.allclose(gaussian(volume, (1.0, 5.0, 2.0))[..., 0, :], expected, atol=1e-6)

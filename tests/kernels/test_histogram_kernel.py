import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch.autograd import gradcheck

from coincide.kernels.histogram import joint_histogram
from coincide.kernels.reference import histogram as reference
from worlds import SHAPES, noise

BINS = 12
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype):
    """Intensities in bins, some beyond the range on both sides, under fractional weights."""
    shape = SHAPES[dim]
    f = (noise(shape, seed=1, batch=2, dtype=dtype) * 3 + BINS / 2).clamp(2, BINS - 2)
    w = noise(shape, seed=2, batch=2, dtype=dtype) * 4 + BINS / 2
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, :2] = 0
    return f, w, mask


@both_dimensions
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)
def test_the_histogram_agrees_with_the_reference(dim, dtype, tolerance):
    f, w, mask = problem(dim, dtype)
    found = joint_histogram(f, w, mask, BINS)
    wide = reference.joint_histogram(f.double(), w.double(), mask.double(), BINS)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, wide, rtol=tolerance, atol=tolerance)


def test_the_histogram_agrees_with_the_splines_of_scipy():
    f, w, mask = problem(2, torch.float64)
    table = np.zeros((BINS, BINS))
    centre = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    columns = np.arange(BINS)
    rows = f[0].numpy().ravel(), w[0].numpy().ravel(), mask[0].numpy().ravel()
    for x, y, m in zip(*rows, strict=True):
        table[min(int(x), BINS - 3)] += m * np.nan_to_num(centre(np.clip(y, 1, BINS - 2) - columns))
    assert np.abs(joint_histogram(f, w, mask, BINS)[0].numpy() - table).max() < 1e-10


@both_dimensions
def test_no_weight_is_lost(dim):
    f, w, mask = problem(dim, torch.float64)
    total = joint_histogram(f, w, mask, BINS).sum((1, 2))
    torch.testing.assert_close(total, mask.flatten(1).sum(1), rtol=1e-12, atol=0)


@both_dimensions
def test_the_gradient_of_the_histogram_is_finite_differences(dim):
    f, w, mask = problem(dim, torch.float64)
    cut = (slice(None), slice(None), slice(2, 5), *(slice(0, 3),) * (dim - 1))
    f, w, mask = f[cut], w[cut].clone().requires_grad_(), mask[cut]
    assert gradcheck(lambda x: joint_histogram(f, x, mask, BINS), w)

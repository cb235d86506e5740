import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from table import BINS, ROWS
from versions import agree

from coincide.kernels.histogram import joint_histogram
from coincide.kernels.histogram import numba as compiled
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype):
    """Intensities in bins, some beyond the range on both sides, under fractional weights."""
    shape = SHAPES[dim]
    f = (noise(shape, seed=1, batch=2, dtype=dtype) * 3 + BINS / 2).clamp(2, BINS - 2)
    w = noise(shape, seed=2, batch=2, dtype=dtype) * 4 + BINS / 2
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, :2] = 0
    return f, w, mask


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
def test_values_on_the_edges_and_voxels_without_weight_are_no_exception(dim):
    f, w, mask = problem(dim, torch.float64)
    w.view(-1)[-3:] = torch.tensor([1.0, BINS - 2.0, 5.0], dtype=torch.float64)
    agree(ROWS["histogram.joint_histogram"], compiled, {"fixed": f, "warped": w, "mask": mask})

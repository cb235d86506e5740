import numpy as np
import pytest
import torch

from coincide.kernels.histogram import joint_histogram
from coincide.kernels.local_histogram import local_histogram, place
from worlds import SHAPES, noise

BINS = 9
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SPACING = {2: (3.7, 5.0), 3: (3.7, 5.0, 30.0)}


def problem(dim, dtype):
    """Intensities in bins, some beyond the range on both sides, under fractional weights."""
    shape = SHAPES[dim]
    f = (noise(shape, seed=1, batch=2, dtype=dtype) * 3 + BINS / 2).clamp(2, BINS - 2)
    w = noise(shape, seed=2, batch=2, dtype=dtype) * 4 + BINS / 2
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, :2] = 0
    return f, w, mask


@both_dimensions
def test_windows_add_up_to_the_histogram_of_the_whole_image(dim):
    f, w, mask = problem(dim, torch.float64)
    total = local_histogram(f, w, mask, BINS, SPACING[dim]).sum(1)
    torch.testing.assert_close(total, joint_histogram(f, w, mask, BINS), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("voxels", "spacing"), [(1, 4.0), (2, 0.5), (9, 4.0), (10, 3.3), (64, 99)])
def test_windows_stand_evenly_about_the_middle(voxels, spacing):
    low, high, count = place(voxels, spacing)
    position = low + high
    assert low.min() >= 0
    assert low.max() <= count - 2
    assert 0 <= high.min() <= high.max() <= 1
    np.testing.assert_allclose(np.diff(position) * spacing, 1)
    assert position[0] + position[-1] == pytest.approx(count - 1)

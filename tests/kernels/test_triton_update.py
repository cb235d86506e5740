import numpy as np
import pytest
import torch
from interpreted import DEVICE, Compiled
from table import SHAPES

from coincide.kernels.update import torch as reference
from worlds import noise

compiled = Compiled("update")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)


def metric(dim):
    a = np.eye(dim) + 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    return a.T @ a


def values(dim, dtype, seed, channels):
    return noise(SHAPES[dim], seed=seed, batch=2, channels=channels, dtype=dtype).to(DEVICE)


def test_axes_of_one_or_two_voxels_are_no_exception():
    field = noise((1, 40, 2), seed=1, channels=3, dtype=torch.float64).to(DEVICE)
    update = field.flip(1).contiguous()
    found = compiled.compose(field, update, 0.3, torch.empty_like(field))
    expected = reference.compose(field, update, 0.3, torch.empty_like(field))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

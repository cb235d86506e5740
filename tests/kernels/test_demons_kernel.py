import numpy as np
import pytest
import torch

from coincide.kernels.demons import demons
from coincide.kernels.reference import demons as reference
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def metric(dim):
    a = np.eye(dim) + 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    return a.T @ a


def images(dim, dtype=torch.float64, channels=2):
    shape = SHAPES[dim]
    fixed = noise(shape, seed=1, batch=2, channels=channels, dtype=dtype)
    warped = noise(shape, seed=2, batch=2, channels=channels, dtype=dtype)
    mask = noise(shape, seed=3, batch=2, dtype=dtype).clamp(0, 1)
    return fixed, warped, mask, torch.empty(2, dim, *shape, dtype=dtype)


@both_dimensions
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)], ids=["32", "64"]
)
def test_value_and_force_agree_with_the_reference(dim, share, dtype, tolerance):
    fixed, warped, mask, out = images(dim, dtype)
    value = demons(fixed, warped, mask, metric(dim), longest=0.7, share=share, floor=0.01, out=out)
    wide = (t.double() for t in (fixed, warped, mask))
    expected, force = reference.demons(*wide, torch.tensor(metric(dim)), 0.25 / 0.7**2, share, 0.01)
    torch.testing.assert_close(value.double(), expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(out.double(), force, rtol=0, atol=10 * tolerance)


@both_dimensions
def test_no_force_is_longer_than_the_bound(dim):
    fixed, warped, mask, out = images(dim)
    inverse = metric(dim)
    demons(fixed, warped, mask, inverse, longest=0.3, share=0.5, floor=1e-6, out=out)
    size = torch.einsum("bd...,de,be...->b...", out, torch.tensor(np.linalg.inv(inverse)), out)
    assert 0.25 < float(size.max().sqrt()) <= 0.3 + 1e-12


@both_dimensions
def test_a_ramp_moved_a_little_is_brought_back_in_one_step(dim):
    shape = SHAPES[dim]
    ramp = torch.arange(shape[-1], dtype=torch.float64).expand(1, 1, *shape).contiguous()
    out = torch.empty(1, dim, *shape, dtype=torch.float64)
    mask = torch.ones_like(ramp)
    # voxels of 2 mm, values rising by 1 a voxel, moved by a tenth of a voxel
    value = demons(
        ramp, ramp - 0.1, mask, np.eye(dim) / 4, longest=100.0, share=0.5, floor=1e-9, out=out
    )
    assert float(value[0]) == pytest.approx(0.01)
    assert torch.allclose(out[:, -1, ..., 1:-1], torch.tensor(0.1, dtype=torch.float64), atol=1e-5)
    assert float(out[:, :-1].abs().max()) == 0

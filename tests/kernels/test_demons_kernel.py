import numpy as np
import pytest
import torch

from coincide.kernels.demons import demons
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

import numpy as np
import pytest
import torch

from coincide.kernels.lncc import decorrelation
from coincide.kernels.lncc import torch as reference
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
masks = pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])


def problem(dim, dtype, masked):
    shape = SHAPES[dim]
    f = noise(shape, seed=1, batch=2, channels=2, dtype=dtype)
    w = 0.5 * f + noise(shape, seed=2, batch=2, channels=2, dtype=dtype)
    mask = torch.ones(2, 1, *shape, dtype=dtype)
    if masked:
        mask = (noise(shape, seed=3, batch=2, dtype=dtype) > -0.3).to(dtype)
        mask[:, :, 5] *= 0.25
        mask[:, :, :3] = 0
    return f, w, mask


@both_dimensions
@masks
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)
def test_local_correlation_agrees_with_the_reference(dim, masked, dtype, tolerance):
    f, w, mask = problem(dim, dtype, masked)
    for radius in [(2, 1, 3)[:dim], (1,) * dim, (20,) * dim]:
        found = decorrelation(f, w, mask, radius, 1e-5)
        wide = reference.decorrelation(f.double(), w.double(), mask.double(), radius, 1e-5)
        assert found.shape == (2,)
        torch.testing.assert_close(found.double(), wide, rtol=0, atol=tolerance)


@both_dimensions
@masks
def test_local_correlation_agrees_with_numpy_window_by_window(dim, masked):
    f, w, mask = problem(dim, torch.float64, masked)
    radius, floor = (2, 1, 1)[:dim], 1e-3
    total = weight = 0.0
    for voxel in np.ndindex(*SHAPES[dim]):
        box = tuple(slice(max(0, i - r), i + r + 1) for i, r in zip(voxel, radius, strict=True))
        m = mask[0, 0][box].numpy().ravel()
        here = float(mask[0, 0][voxel])
        if not here:
            continue
        a, b = (t[0, 0][box].numpy().ravel() for t in (f, w))
        a, b = a - np.average(a, weights=m), b - np.average(b, weights=m)
        cov, va, vb = (np.average(x, weights=m) for x in (a * b, a * a, b * b))
        total += here * cov**2 / ((va + floor) * (vb + floor))
        weight += here
    found = decorrelation(f[:1, :1], w[:1, :1], mask[:1], radius, floor)
    assert float(found) == pytest.approx(1 - total / weight, abs=1e-10)


def test_working_memory_kept_between_calls_does_not_leak_into_the_next():
    small, large = problem(2, torch.float64, True), problem(3, torch.float64, True)
    first = decorrelation(*small, (2, 2), 1e-5)
    decorrelation(*large, (2, 2, 2), 1e-5)
    assert torch.equal(decorrelation(*small, (2, 2), 1e-5), first)

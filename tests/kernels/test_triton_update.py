import numpy as np
import pytest
import torch
from interpreted import DEVICE, SHAPES, kernels

from coincide.kernels.reference import update as reference
from worlds import noise

compiled = kernels("update")
pytestmark = pytest.mark.usefixtures("interpreter")
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)


def metric(dim):
    a = np.eye(dim) + 0.2 * np.random.default_rng(0).standard_normal((dim, dim))
    return a.T @ a


def values(dim, dtype, seed, channels):
    return noise(SHAPES[dim], seed=seed, batch=2, channels=channels, dtype=dtype).to(DEVICE)


@both_dimensions
@precisions
def test_the_force_agrees_with_the_reference(dim, dtype, tolerance):
    slope, warped = values(dim, dtype, 1, 2), values(dim, dtype, 2, 2)
    found, expected = (torch.full_like(values(dim, dtype, 3, dim), torch.nan) for _ in range(2))
    assert compiled.pull(slope, warped, metric(dim), out=found) is found
    reference.pull(slope, warped, metric(dim), out=expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@both_dimensions
@precisions
def test_composition_agrees_with_the_reference(dim, dtype, tolerance):
    field, update = values(dim, dtype, 1, dim), values(dim, dtype, 2, dim)
    found, expected = (torch.full_like(field, torch.nan) for _ in range(2))
    assert compiled.compose(field, update, 0.3, out=found) is found
    reference.compose(field, update, 0.3, out=expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@both_dimensions
@precisions
def test_the_largest_vector_agrees_with_the_reference(dim, dtype, tolerance):
    field = values(dim, dtype, 1, dim)
    found, expected = (room.largest(field, metric(dim)) for room in (compiled, reference))
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
    assert float(compiled.largest(0 * field, metric(dim))) == 0


def test_axes_of_one_or_two_voxels_are_no_exception():
    field = noise((1, 40, 2), seed=1, channels=3, dtype=torch.float64).to(DEVICE)
    update = field.flip(1).contiguous()
    found = compiled.compose(field, update, 0.3, out=torch.empty_like(field))
    expected = reference.compose(field, update, 0.3, out=torch.empty_like(field))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from coincide.kernels.labels import label_sums
from coincide.kernels.reference import labels as reference
from worlds import SHAPES, noise

COUNT = 5
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype, size=3.0):
    """Random maps of different shapes, a field that leads some voxels out of view, weights."""
    shape = SHAPES[dim]
    other = tuple(n + 2 - axis for axis, n in enumerate(shape))
    fixed, moving = (
        (noise(s, seed=n, batch=2) * 1.5 + 2).round().clamp(0, COUNT).int()
        for n, s in enumerate((shape, other))
    )
    field = size * noise(shape, seed=2, sigma=1, batch=2, channels=dim, dtype=dtype)
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, :2] = 0
    random = np.random.default_rng(3)
    scale = np.eye(dim) + 0.1 * random.standard_normal((dim, dim))
    index = np.concatenate([scale, random.uniform(0, 1, (dim, 1))], 1)
    return fixed, moving, field, mask, index, scale, COUNT


@both_dimensions
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-12)], ids=["32", "64"]
)
def test_sums_of_labels_agree_with_the_reference(dim, dtype, tolerance):
    arguments = problem(dim, dtype)
    field = arguments[2].clone().requires_grad_()
    sums, expected = (
        f(*arguments[:2], field, *arguments[3:]) for f in (label_sums, reference.label_sums)
    )
    assert float(sums.min()) >= 0
    assert (sums[:, 2] > 0).all()
    torch.testing.assert_close(sums, expected.double(), rtol=tolerance, atol=tolerance)
    way = torch.randn(sums.shape, generator=torch.Generator().manual_seed(1), dtype=sums.dtype)
    slope, wanted = (torch.autograd.grad((way * s).sum(), field)[0] for s in (sums, expected))
    torch.testing.assert_close(slope, wanted, rtol=tolerance, atol=tolerance)


@both_dimensions
def test_the_gradient_of_sums_of_labels_is_finite_differences(dim):
    fixed, moving, field, mask, *rest = problem(dim, torch.float64)
    cut = (slice(None), slice(None), slice(2, 5), *(slice(0, 3),) * (dim - 1))
    small = field[cut].contiguous().requires_grad_()
    assert gradcheck(lambda u: label_sums(fixed[cut], moving, u, mask[cut], *rest), small)


def test_maps_that_lie_on_each_other_share_everything():
    fixed, _, field, mask, *_ = problem(3, torch.float64)
    sums = label_sums(fixed, fixed, 0 * field, mask, np.eye(3, 4), np.eye(3), COUNT)
    assert torch.equal(sums[:, 0], sums[:, 2])
    for label in range(COUNT):
        expected = (mask * (fixed == label)).flatten(1).sum(1)
        torch.testing.assert_close(sums[:, 1, label], expected, rtol=1e-12, atol=0)

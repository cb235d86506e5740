import pytest
import torch
from interpreted import DEVICE, SHAPES, kernels

from coincide.kernels.reference import histogram as reference
from worlds import noise

BINS = 12
compiled = kernels("histogram")
pytestmark = pytest.mark.usefixtures("interpreter")
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype):
    """Intensities in bins, some beyond the range on both sides, under fractional weights."""
    shape = SHAPES[dim]
    f = noise(shape, seed=1, batch=2, dtype=dtype) * 3 + BINS / 2
    w = noise(shape, seed=2, batch=2, dtype=dtype) * 4 + BINS / 2
    w.view(-1)[:3] = torch.tensor([1.0, BINS - 2.0, 5.0])  # on the edges
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, 2:4] = 0
    return f.to(DEVICE), w.to(DEVICE), mask.to(DEVICE)


@both_dimensions
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)
def test_the_histogram_and_its_gradient_agree_with_the_reference(dim, dtype, tolerance):
    f, w, mask = problem(dim, dtype)
    assert bool((w > BINS - 2).any())
    assert bool((w < 1).any())
    slope = noise((BINS, BINS), seed=3, batch=2, dtype=torch.float64)[:, 0].to(DEVICE)
    found = compiled.joint_histogram(f, w.requires_grad_(), mask, BINS)
    (gradient,) = torch.autograd.grad((slope * found).sum(), w)
    wide = w.detach().double().requires_grad_()
    wanted = reference.joint_histogram(f.double(), wide, mask.double(), BINS)
    (expected,) = torch.autograd.grad((slope * wanted).sum(), wide)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient.double(), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(found.sum((1, 2)), mask.double().flatten(1).sum(1))

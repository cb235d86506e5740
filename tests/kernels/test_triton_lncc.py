import pytest
import torch
from interpreted import DEVICE, SHAPES, kernels

from coincide.kernels.reference import lncc as reference
from worlds import noise

compiled = kernels("lncc")
pytestmark = pytest.mark.usefixtures("interpreter")
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
    return f.to(DEVICE), w.to(DEVICE), mask.to(DEVICE)


@both_dimensions
@masks
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)
def test_local_correlation_and_its_gradient_agree_with_the_reference(dim, masked, dtype, tolerance):
    f, w, mask = problem(dim, dtype, masked)
    weight = torch.tensor([1.0, -2.0], dtype=torch.float64, device=DEVICE)
    radius = (2, 1, 3)[:dim]
    found = compiled.decorrelation(f, w.requires_grad_(), mask, radius, 1e-3)
    (slope,) = torch.autograd.grad((weight * found).sum(), w)
    wide = w.detach().double().requires_grad_()
    wanted = reference.decorrelation(f.double(), wide, mask.double(), radius, 1e-3)
    (expected,) = torch.autograd.grad((weight * wanted).sum(), wide)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=0)
    scale = float(expected.abs().max())
    assert scale > 1e-4
    torch.testing.assert_close(slope.double(), expected, rtol=0, atol=tolerance * scale)


def test_a_window_wider_than_the_image_is_the_image():
    f, w, mask = problem(2, torch.float64, True)
    found = compiled.decorrelation(f, w, mask, (30, 30), 1e-5)
    wanted = reference.decorrelation(f, w, mask, (30, 30), 1e-5)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)


def test_nothing_under_the_mask_does_not_correlate():
    f, w, mask = problem(2, torch.float64, False)
    found = compiled.decorrelation(f, w.requires_grad_(), 0 * mask, (1, 1), 1e-5)
    found.sum().backward()
    assert bool((found == 1).all())
    assert not bool(w.grad.any())

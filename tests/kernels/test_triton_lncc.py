import pytest
import torch
from interpreted import DEVICE, Compiled
from table import ROWS, SHAPES
from versions import agree

from coincide.kernels.lncc import torch as reference
from worlds import noise

compiled = Compiled("lncc")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
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


@both_dimensions
@masks
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
def test_masks_are_no_exception(dim, masked, dtype):
    tensors = dict(zip(("fixed", "warped", "mask"), problem(dim, dtype, masked), strict=True))
    agree(ROWS["lncc.decorrelation"], compiled, tensors, DEVICE)

import numpy as np
import pytest
import torch

from coincide.kernels.difference import mean_square
from coincide.kernels.squares import force, packed
from coincide.kernels.warp import warp
from worlds import SHAPES, noise


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("channels", [2, 8, 12])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_the_force_is_the_gradient_of_the_mean_squared_difference(dim, channels, masked):
    shape = SHAPES[dim]
    fixed, moving = (noise(shape, seed=s, batch=2, channels=channels).double() for s in (1, 2))
    field = (2 * noise(shape, seed=3, batch=2, channels=dim)).double().requires_grad_()
    masks = [(noise(shape, seed=s, batch=2) > -0.5).double() for s in (4, 5)]
    one, other = masks if masked else (None, None)
    index, scale = np.eye(dim, dim + 1), np.eye(dim)
    warped, valid = warp(moving, field, index, scale)
    if masked:
        valid = valid * one * warp(other, field.detach(), index, scale)[0]
    value = mean_square(fixed, warped, valid)
    (slope,) = torch.autograd.grad(value.sum(), field)
    metric = np.diag(np.arange(1.0, dim + 1))
    out = torch.empty_like(field)
    found = force(packed(fixed, one), packed(moving, other), field.detach(), metric, out=out)
    assert found == pytest.approx(float(value.mean()), rel=1e-9)
    wanted = -torch.einsum("de,be...->bd...", torch.as_tensor(metric), slope)
    assert float(wanted.abs().max()) > 1e-5
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-10)


def test_where_nothing_overlaps_the_features_of_the_fixed_image_remain():
    fixed, moving = noise((7, 8, 9), seed=1, channels=6), noise((7, 8, 9), seed=2, channels=6)
    away = torch.full((1, 3, 7, 8, 9), 50.0)
    out = torch.empty_like(away)
    found = force(packed(fixed, None), packed(moving, None), away, np.eye(3), out=out)
    assert found == pytest.approx(float(fixed.square().mean()), rel=1e-5)
    assert float(out.abs().max()) == 0

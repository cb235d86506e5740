import numpy as np
import pytest
import torch
from interpreted import DEVICE, Compiled
from table import SHAPES

from coincide.kernels.smooth import gaussian_weights
from coincide.kernels.smooth import torch as reference
from worlds import noise

compiled = Compiled("smooth")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["32", "64"]
)
KINDS = {
    "gaussian": [gaussian_weights(s) for s in (0.6, 0.0, 1.3)],
    "wide": [np.ones(1), gaussian_weights(8.0), gaussian_weights(0.5)],  # wider than the image
    "box": [np.full(3, 1 / 3), np.full(5, 1 / 5), np.ones(1)],
    "scaled": [np.full(1, 2.0), np.ones(1), np.ones(1)],
    "none": [np.ones(1)] * 3,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def values(dim, dtype, seed=1):
    return noise(SHAPES[dim], sigma=0, seed=seed, batch=2, dtype=dtype).to(DEVICE)


@both_dimensions
@precisions
@kinds
def test_filters_and_their_gradients_agree_with_the_reference(dim, dtype, tolerance, kind):
    weights, slope = KINDS[kind][:dim], values(dim, dtype, 2)
    results = []
    for room in (compiled, reference):
        volume = values(dim, dtype).requires_grad_()
        result = room.filtered(volume, weights)
        results.append((result, *torch.autograd.grad((slope * result).sum(), volume)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", ["gaussian", "scaled", "none"])
def test_filtering_in_place_gives_the_same_bits(kind):
    volume, weights = values(3, torch.float32), KINDS[kind]
    before = volume.clone()
    expected = compiled.filtered(volume, weights)
    other = torch.full_like(volume, torch.nan)
    assert compiled.filter_into(volume, weights, other) is other
    assert torch.equal(volume, before)
    assert compiled.filter_into(volume, weights, volume) is volume
    assert torch.equal(other, expected)
    assert torch.equal(volume, expected)

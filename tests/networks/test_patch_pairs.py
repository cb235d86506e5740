"""Patches: what they show, what is asked of them, and the spline through the answers."""

import pytest
import torch

from coincide.networks import patch_pairs
from coincide.networks.patch_pairs import AROUND, SIDE, PatchPairs
from coincide.predictors.steered import Steered
from coincide.space.image import Image
from coincide.synthetic.phantoms import textured

SHIFT = (3, -2, 4)


def noisy(dim: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(dim)
    return torch.rand((1, 1, *(26, 24, 22)[:dim]), generator=random)


def shown(fixed, moving, *centre):
    """What a network is shown of one patch, (3, *15)."""
    inputs = []
    network = PatchPairs(fixed.ndim - 2)
    network.layers[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    network(fixed, moving, torch.tensor([[0, *centre]]))
    return inputs[0][0]


@pytest.mark.parametrize("dim", [2, 3])
def test_the_map_has_its_peak_where_the_middle_went(dim):
    fixed, shift, middle = noisy(dim), SHIFT[:dim], (12, 11, 10)[:dim]
    moving = 0.3 * fixed.roll(shift, tuple(range(2, 2 + dim))) + 0.2
    one, other, alike = shown(fixed, moving, *middle)
    peak = [int(i) - SIDE // 2 for i in torch.unravel_index(alike.argmax(), alike.shape)]
    assert tuple(peak) == shift
    assert float(alike.max()) == pytest.approx(1, abs=1e-3)
    assert float(alike.min()) > -1
    inner = slice(AROUND, SIDE - AROUND)
    apart = tuple(slice(inner.start + s, inner.stop + s) for s in shift)
    small = tuple(slice(AROUND + 4, SIDE - AROUND - 4) for _ in shift)
    # the patches themselves, each less its mean
    torch.testing.assert_close(
        0.3 * (one[(inner,) * dim][small] - one[(inner,) * dim][small].mean()),
        other[apart][small] - other[apart][small].mean(),
        atol=1e-5,
        rtol=1e-4,
    )


def test_nothing_resembles_a_flat_patch():
    flat = torch.full((1, 1, 20, 20), 0.4)
    assert float(shown(flat, noisy(2), 10, 10)[2].abs().max()) < 1e-3
    assert float(shown(noisy(2), flat, 10, 10)[2].abs().max()) < 0.05


def test_many_patches_are_asked_in_parts(monkeypatch):
    network = PatchPairs(2)
    with torch.no_grad():
        network.head.weight.normal_(std=0.1)
        centres = torch.cartesian_prod(torch.arange(1), torch.arange(20), torch.arange(20))
        whole = network(noisy(2), noisy(2).flip(2), centres)
        monkeypatch.setattr(patch_pairs, "AT_ONCE", 60)
        torch.testing.assert_close(network(noisy(2), noisy(2).flip(2), centres), whole)
    with pytest.raises(ValueError, match="take 3 widths"):
        PatchPairs(2, (4, 4))


@pytest.mark.parametrize("dim", [2, 3])
def test_the_spline_goes_through_the_answers(dim):
    """Asked one by one in training, patches say what the spline says at their middles."""
    torch.manual_seed(0)
    predictor = Steered(spacing=1.5, widths=(4, 4, 4), dim=dim)
    with torch.no_grad():
        predictor.network.head.weight.normal_(std=0.2)
    size = (30, 23, 18)[:dim]
    images = [textured(size, seed=n, spacing=1.5).image for n in range(4)]
    fixed, moving = (
        Image(torch.cat([images[n].data for n in pair]), images[0].grid)
        for pair in ((0, 1), (2, 3))
    )
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        asked, nothing = predictor.trained(fixed, moving, None, random)
        spline = predictor(fixed, moving)
        # the first middle and one in between, of each axis
        grid = predictor.seen(fixed, moving, None)[2]
        first = [(n - 1 - 4 * (-(-n // 4) - 1)) // 2 for n in grid.shape]
        voxels = [first, [f + 8 for f in first], [f + 12 for f in first]]
        points = torch.as_tensor(grid.to_world(torch.tensor(voxels).numpy()))[None]
        torch.testing.assert_close(
            asked(points), spline(points).expand(2, -1, -1), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(asked.displacement(grid), spline.displacement(grid))
    assert float((spline(points) - points).norm(dim=-1).mean()) > 0.2
    assert float(nothing) == 0

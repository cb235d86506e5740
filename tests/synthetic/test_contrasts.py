import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from coincide.synthetic.contrasts import pseudo_t2, remap
from coincide.synthetic.phantoms import textured

PHANTOM = textured((32, 32, 32), 1).image
each = pytest.mark.parametrize("contrast", [remap, pseudo_t2])


@each
def test_the_same_seed_gives_the_same_bits(contrast):
    one, two, other = (contrast(PHANTOM, seed=s) for s in (3, 3, 4))
    assert torch.equal(one.data, two.data)
    assert not torch.equal(one.data, other.data)


@pytest.mark.parametrize("seed", range(6))
def test_the_curve_is_not_monotone_and_keeps_air_dark(seed):
    result = remap(PHANTOM, seed=seed, bias=0, noise=0).data
    air = PHANTOM.data == 0
    assert float(result[air].abs().max()) == 0
    order = PHANTOM.data[~air].argsort()
    slopes = np.diff(result[~air][order].numpy())
    assert (slopes > 1e-6).any()
    assert (slopes < -1e-6).any()
    assert abs(spearmanr(PHANTOM.data[~air], result[~air]).statistic) < 0.97


def test_a_pseudo_t2_is_brightest_in_fluid_then_falls_and_keeps_air_dark():
    result = pseudo_t2(PHANTOM, bias=0, noise=0).data
    air = PHANTOM.data == 0
    assert float(result[air].abs().max()) == 0
    top = float(np.quantile(PHANTOM.data[~air], 0.995))
    bright = (PHANTOM.data > 0.13 * top) & (PHANTOM.data < top)
    assert spearmanr(PHANTOM.data[bright], result[bright]).statistic < -0.999
    dim = ~air & (PHANTOM.data < 0.11 * top)
    assert spearmanr(PHANTOM.data[dim], result[dim]).statistic > 0.999


@each
def test_without_noise_the_values_stay_in_range(contrast):
    result = contrast(PHANTOM, seed=2, bias=0.3, noise=0).data
    assert float(result.min()) >= 0
    assert float(result.max()) <= 1.3


@each
def test_noise_has_the_asked_strength(contrast):
    quiet, loud = contrast(PHANTOM, seed=5, noise=0), contrast(PHANTOM, seed=5, noise=0.1)
    assert float((loud.data - quiet.data).std()) == pytest.approx(0.1, rel=0.05)


@each
def test_grid_mask_and_batch_are_kept(contrast):
    mask = torch.ones(2, 1, 32, 32, 32)
    pair = PHANTOM.with_data(PHANTOM.data.expand(2, -1, -1, -1, -1)).with_mask(mask)
    result = contrast(pair, noise=0)
    assert result.grid is pair.grid
    assert result.mask is mask
    assert torch.equal(result.data[0], result.data[1])


@each
def test_an_image_of_one_value_stays_finite(contrast):
    flat = PHANTOM.with_data(torch.ones_like(PHANTOM.data))
    assert torch.isfinite(contrast(flat).data).all()

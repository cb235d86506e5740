import numpy as np
import pytest
import torch

from coincide.space.image import Image
from coincide.space.pyramid import at
from worlds import SHAPES, image, noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
factors = pytest.mark.parametrize("factor", [1, 2, 3])


@both_dimensions
@factors
@pytest.mark.parametrize("masked", [False, True])
def test_a_constant_stays_constant_where_it_counts(dim, factor, masked):
    grid = oblique(SHAPES[dim])
    data = torch.full((1, 1, *SHAPES[dim]), 4.25)
    mask = None
    if masked:
        mask = (noise(SHAPES[dim], seed=1) > 0).float()
        data = torch.where(mask > 0, data, 1000.0)
    small = at(Image(data, grid, mask), grid.shrink((factor,) * dim))
    assert float((small.weight() > 0.05).float().mean()) > 0.3
    assert float((small.data - 4.25).abs().max()) < 1e-4


@both_dimensions
@pytest.mark.parametrize("masked", [False, True])
def test_nothing_outside_the_mask_leaks_in(dim, masked):
    grid = oblique(SHAPES[dim])
    picture = image(SHAPES[dim], seed=2)
    mask = (noise(SHAPES[dim], seed=1) > 0).float()
    noisy = torch.where(mask > 0, picture.data, 50.0)
    coarse = grid.shrink((2,) * dim)
    one = at(Image(picture.data, grid, mask if masked else None), coarse)
    other = at(Image(noisy, grid, mask if masked else None), coarse)
    assert torch.allclose(one.data, other.data, atol=1e-5) == masked
    assert torch.allclose(at(one, grid).data, at(other, grid).data, atol=1e-5) == masked


@both_dimensions
def test_weights_stay_between_zero_and_one(dim):
    grid = oblique(SHAPES[dim])
    picture = image(SHAPES[dim]).with_mask((noise(SHAPES[dim], seed=1) > 0).float())
    weight = at(picture, grid.shrink((2,) * dim)).weight()
    assert float(weight.min()) >= 0
    assert float(weight.max()) <= 1 + 1e-6


def test_the_same_grid_gives_the_same_image():
    picture = image(SHAPES[3])
    assert at(picture, oblique(SHAPES[3])) is picture
    mask = (noise(SHAPES[3], seed=1) > 0).float()
    same = at(picture.with_mask(mask), oblique(SHAPES[3]))
    assert torch.equal(same.data[mask > 0], picture.data[mask > 0])


@both_dimensions
def test_masked_smoothing_is_a_normalised_convolution(dim):
    grid = oblique(SHAPES[dim], spacing=1.0)
    picture = image(SHAPES[dim], seed=2, dtype=torch.float64, grid=grid)
    mask = (noise(SHAPES[dim], seed=1, dtype=torch.float64) > 0).double()
    coarse = grid.shrink((2,) * dim)
    small = at(picture.with_mask(mask), coarse)
    # the same weights applied to what counts and to the weights themselves, by plain images
    total, mass = (at(Image(x, grid), coarse).data for x in (picture.data * mask, mask))
    counts = mass > 1e-3
    assert float((small.data - total / mass)[counts].abs().max()) < 1e-9
    assert float((small.weight() - mass).abs().max()) < 1e-3


def test_only_axes_that_become_coarser_are_smoothed():
    picture = image((24, 20), sigma=0, grid=oblique((24, 20), spacing=1.0))
    small = at(picture, picture.grid.shrink((1, 4)))
    rows = picture.data.var(2)
    assert float(small.data.var(2).mean()) < 0.6 * float(rows.mean())
    tall = picture.grid.shrink((1, 1))
    assert torch.equal(at(picture, tall).data, picture.data)


def test_a_wave_too_fast_for_the_coarse_grid_is_removed():
    grid = oblique((32, 32), spacing=1.0)
    wave = np.cos(np.pi * np.arange(32))[:, None] * np.ones((1, 32))
    picture = Image(torch.tensor(wave, dtype=torch.float32)[None, None], grid)
    # the mirrored border makes the wave slower there
    small = at(picture, grid.shrink((4, 4))).data[..., 1:-1, :]
    assert float(small.abs().max()) < 0.02

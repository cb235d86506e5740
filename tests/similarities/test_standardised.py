import numpy as np
import pytest
import torch

from coincide.similarities.lncc_gaussian import GaussianLNCC
from coincide.similarities.standardised import Standardised
from coincide.space.grid import Grid
from coincide.space.image import Image
from worlds import noise, oblique

SHAPE = (30, 28, 26)


def picture(seed=0, grid=None):
    grid = oblique(SHAPE) if grid is None else grid
    return Image(noise(grid.shape, seed=seed, sigma=1.5, dtype=torch.float64), grid)


def test_a_slowly_varying_brightness_and_contrast_do_not_matter():
    image, part = picture(), Standardised(sigma=4.0, floor=1e-3)
    ramp = torch.linspace(0, 1, 30, dtype=torch.float64).view(1, 1, -1, 1, 1)
    shaded = image.with_data((1 + ramp) * image.data + 3 * ramp)
    plain, other = part.prepare(image), part.prepare(shaded)
    inner = (..., *(slice(6, -6),) * 3)
    gap = (plain.data - other.data)[inner].square().mean()
    assert float(plain.data[inner].square().mean()) == pytest.approx(1, abs=0.3)
    assert float(gap) < 0.05
    direct = (image.standardised().data - shaded.standardised().data)[inner].square().mean()
    assert float(direct) > 5 * float(gap)


def test_it_orders_images_as_local_correlation_does():
    fixed = picture()
    costs = []
    for share in (0.0, 0.3, 0.6, 1.0):
        mixed = fixed.with_data((1 - share) * fixed.data + share * picture(9).data)
        part = Standardised(sigma=3.0)
        mine = float(part.compare(*part.prepared(fixed, mixed)))
        other = GaussianLNCC(sigma=3.0)
        costs.append((mine, float(other.compare(*other.prepared(fixed, mixed)))))
    mine, theirs = zip(*costs, strict=True)
    assert mine == tuple(sorted(mine))
    assert theirs == tuple(sorted(theirs))
    assert mine[0] == 0
    # no more than 2 - 2ρ, with ρ of 0 for images that have nothing in common
    assert 1 < mine[-1] < 2.2


def test_the_window_is_in_millimetres():
    coarse = Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0]))
    fine = Grid(SHAPE, np.diag([0.5, 0.5, 0.5, 1.0]))
    data = picture(grid=coarse).data
    one = Standardised(sigma=4.0).prepare(Image(data, coarse)).data
    other = Standardised(sigma=2.0).prepare(Image(data, fine)).data
    torch.testing.assert_close(one, other)
    assert not torch.allclose(one, Standardised(sigma=4.0).prepare(Image(data, fine)).data)


def test_what_is_flat_stays_small():
    image = picture()
    data = image.data.clone()
    data[:, :, :15] = 1e-6 * data[:, :, :15]
    made = Standardised(sigma=2.0).prepare(image.with_data(data))
    assert float(made.data[:, :, :7].abs().max()) < 0.1


@pytest.mark.parametrize("name", ["sigma", "floor"])
def test_a_window_without_width_or_floor_is_refused(name):
    with pytest.raises(ValueError, match=f"standardised takes {name} above 0"):
        Standardised(**{name: 0.0})

"""Whether a displacement is told to be even."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Optimiser
from coincide.optimisers.roughness import widened
from coincide.registry import build
from coincide.space.grid import Grid
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import centred, textured
from coincide.transforms.displacement import Displacement

LEVELS = (Level(2, 30), Level(1, 10))


def evenness(field, grid: Grid) -> float:
    """Share of the widest smoothing, in powers."""
    return float(np.log2(widened(2.0, field, grid)[0]))


def even(sigma: float, peak: float, shape=(48, 48, 48), spacing: float = 1.0) -> float:
    grid = centred(shape, spacing)
    return evenness(smooth_displacement(grid, peak=peak, sigma=sigma, seed=1).field, grid)


@pytest.mark.parametrize("shape", [(48, 48, 48), (64, 64), (1, 64, 64)])
def test_a_wide_wave_is_even_and_a_narrow_one_is_not(shape):
    assert even(20, 2, shape) == pytest.approx(1)
    assert even(4, 4, shape) == 0


def test_evenness_falls_from_one_to_nothing_as_waves_grow_steeper():
    values = [even(10, peak) for peak in np.linspace(1, 4, 13)]
    assert values[0] == pytest.approx(1)
    assert values[-1] == 0
    assert any(0 < value < 1 for value in values)
    assert values == sorted(values, reverse=True)


def test_no_displacement_and_too_few_voxels_tell_nothing():
    grid = centred((16, 16, 16))
    assert evenness(torch.zeros(1, 3, *grid.shape), grid) == 0
    assert even(20, 2, (38, 38, 38)) == 0
    assert even(20, 2, (40, 40, 40)) == pytest.approx(1)


def test_a_linear_map_is_even():
    grid = centred((40, 40, 40))
    world = torch.from_numpy(grid.to_world(np.indices(grid.shape).reshape(3, -1).T)).float()
    field = (0.1 * world.T).reshape(1, 3, *grid.shape)
    assert evenness(field, grid) == pytest.approx(1)


def test_background_that_does_not_move_changes_nothing():
    grid = centred((40, 40, 40))
    field = smooth_displacement(grid, peak=2, sigma=10, seed=1).field.detach()
    around = torch.nn.functional.pad(field, (20,) * 6)
    alone = evenness(field, grid)
    assert 0 < alone < 1
    assert evenness(around, centred((80, 80, 80))) == pytest.approx(alone, abs=0.02)


def test_evenness_counts_voxels_not_millimetres():
    assert even(20, 4, spacing=2.0) == pytest.approx(even(10, 2), abs=1e-4)


def test_the_order_of_the_axes_does_not_matter():
    grid = Grid((48, 40, 44), np.diag([1.0, 1.5, 2.0, 1.0]))
    field = smooth_displacement(grid, peak=2, sigma=10, seed=1).field.detach()
    turned = Grid((44, 48, 40), np.diag([2.0, 1.0, 1.5, 1.0]))
    assert 0 < evenness(field, grid) < 1
    turned_field = field.permute(0, 1, 4, 2, 3)[:, [2, 0, 1]]
    assert evenness(turned_field, turned) == pytest.approx(evenness(field, grid), abs=1e-5)


def registered(adaptive: float, sigma: float, peak: float) -> tuple[float, float, str]:
    """Error in mm before and after registering a noisy phantom, and what the run said."""
    fixed = textured((56, 56, 56), 1).image
    truth = smooth_displacement(fixed.grid, peak=peak, sigma=sigma, seed=1)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped
    noise = torch.randn(moving.data.shape, generator=torch.Generator().manual_seed(0))
    moving = moving.with_data(moving.data + 0.05 * noise).with_mask(None)
    rule = f"compositive(update=2); compositive(update=1, field=0.6, adaptive={adaptive})"
    found = optimise(fixed, moving, "displacement", objective="lncc", optimiser=rule, levels=LEVELS)
    inside = fixed.data[0, 0] > 0.1
    with torch.no_grad():
        wanted = truth.displacement(fixed.grid).detach()
        gap = (found.transform.displacement(fixed.grid) - wanted).norm(dim=1)[0]
    start = wanted.norm(dim=1)[0]
    return float(start[inside].mean()), float(gap[inside].mean()), found.status


def test_an_adaptive_optimiser_gains_where_the_truth_is_even_and_says_so():
    start, sharp, said = registered(1, sigma=16, peak=4)
    _, wide, told = registered(3, sigma=16, peak=4)
    assert wide < 0.8 * sharp < 0.5 * start
    assert "level 1 used its 10 steps (even so far: smoothed 3.0 times as widely)" in told
    assert "even" not in said


def test_an_adaptive_optimiser_is_as_another_where_the_field_is_uneven():
    fixed = textured((32, 32, 32), 1).image
    uneven = smooth_displacement(fixed.grid, peak=2, sigma=4, seed=1)
    fields = []
    for rule in ("compositive", "compositive(adaptive=3)"):
        start = Displacement(field=uneven.field.detach().clone(), grid=fixed.grid)
        level = (Level(1, 3),)
        found = optimise(fixed, fixed, start, objective="lncc", optimiser=rule, levels=level)
        fields.append(found.transform.field)
    assert torch.equal(*fields)
    assert not torch.equal(fields[0], uneven.field)


def test_adaptive_smoothing_does_not_narrow():
    with pytest.raises(ValueError, match=r"1 or more, not 0\.5"):
        build("compositive(adaptive=0.5)", Optimiser)

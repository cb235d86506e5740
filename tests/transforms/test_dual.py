"""A smooth network and one for detail, switched on level by level."""

import pytest
import torch

from coincide.alignment import Alignment
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.displacement import Displacement
from coincide.transforms.dual import Dual
from random_transforms import interior, woken
from worlds import oblique

GRID = oblique((20, 22, 18), spacing=3.0)


def fine_pair():
    """Two images, one bent by much that is smooth and a little that is not."""
    fixed = textured((48, 44), seed=1, spacing=1.5, regions=30).image
    wide, narrow = (
        smooth_displacement(fixed.grid, peak=peak, sigma=sigma, seed=seed).field.detach()
        for peak, sigma, seed in ((4, 12, 1), (1.5, 4, 51))
    )
    truth = Displacement(field=wide + narrow, grid=fixed.grid).requires_grad_(False)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)
    return fixed, moving, truth


def fitted(transform, levels):
    fixed, moving, _ = fine_pair()
    return optimise(
        fixed,
        moving,
        transform,
        objective="ncc + 0.05*bending",
        optimiser="sampled(points=700, regularised=60, rate=0.002)",
        levels=levels,
    ).transform


def test_on_the_coarsest_level_the_detail_stays_at_zero():
    found = fitted("dual(width=16)", (Level(3, 5, 0),))
    points = found.grid.points()
    assert float(found.smooth.shift(points).abs().max()) > 0.01
    assert not found.detail.shift(points).any()
    assert not any(held.requires_grad for held in found.detail.parameters())


def test_on_finer_levels_both_are_moved():
    levels = (Level(3, 5, 0), Level(1.5, 5, 0))
    first = fitted("dual(width=16)", levels[:1])
    found = fitted("dual(width=16)", levels)
    points = first.grid.points()
    assert float(found.detail.shift(points).abs().max()) > 0.001
    assert float((found.smooth.shift(points) - first.smooth.shift(points)).abs().max()) > 0.001


def test_what_is_frozen_stays_so_on_a_finer_grid():
    frozen = woken(Dual(width=16).on(GRID.shrink((2, 2, 2)))).requires_grad_(False)
    finer = frozen.on(GRID)
    assert not any(held.requires_grad for held in finer.parameters())
    points = interior(GRID)
    assert torch.equal(finer(points), frozen(points))
    free = Dual(width=16).on(GRID.shrink((2, 2, 2)))
    assert not any(held.requires_grad for held in free.on(free.grid).detail.parameters())
    assert all(held.requires_grad for held in free.on(GRID).parameters())


def test_the_displacement_is_the_sum_of_both():
    dual, points = woken(Dual(width=16, coarse=4, fine=8).on(GRID), size=2.0), interior(GRID)
    expected = dual.smooth.shift(points) + 0.5 * dual.detail.shift(points)
    torch.testing.assert_close(dual(points) - points, expected, rtol=0, atol=1e-9)
    assert float(dual.detail.shift(points).detach().norm(dim=-1).mean()) > 0.3


@pytest.mark.slow
def test_detail_is_found_that_a_smooth_network_misses():
    fixed, _, truth = fine_pair()
    points = fixed.grid.crop((7, 7), (41, 37)).points()
    levels = (Level(3, 60, 0), Level(1.5, 80, 0))
    errors = [
        float((fitted(one, levels)(points) - truth(points)).norm(dim=-1).mean().detach())
        for one in ("siren(width=48)", "dual(width=48)")
    ]
    assert errors[1] < 0.95 * errors[0]

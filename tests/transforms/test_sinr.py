"""Implicit control points."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.files.itk import read_transform, write_transform
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.penalties.bending import Bending
from coincide.presets.preset import PRESETS
from coincide.registry import build
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.bspline import BSpline
from coincide.transforms.sinr import SINR
from random_transforms import interior, woken
from worlds import oblique

SHAPES = {2: (25, 27), 3: (17, 18, 16)}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def pair_of(dim: int):
    """Implicit control points that move, and the B-spline with the same control points."""
    made = woken(SINR(5.0, width=32, omega=4.0).on(oblique(SHAPES[dim])), size=2.0)
    known = made.control_points()
    spline = BSpline(5.0, coefficients=known.values.detach(), grid=known.grid)
    return made.requires_grad_(False), spline.requires_grad_(False)


@both_dimensions
def test_it_is_the_b_spline_of_the_control_points_that_the_network_gives(dim):
    made, spline = pair_of(dim)
    grid = oblique(SHAPES[dim])
    points = interior(grid)
    assert float((made(points) - points).abs().max()) > 0.5
    assert float((made(points) - spline(points)).abs().max()) < 1e-6
    for where in (grid, oblique((9, 8, 7)[:dim], seed=3)):
        assert float((made.displacement(where) - spline.displacement(where)).abs().max()) < 1e-6
    assert float((made.jacobian(points) - spline.jacobian(points)).abs().max()) < 1e-6
    assert float((made.hessian(points) - spline.hessian(points)).abs().max()) < 1e-6


@both_dimensions
def test_its_bending_is_in_closed_form(dim):
    made, spline = pair_of(dim)
    image = textured(SHAPES[dim]).image
    found, expected = (Bending()(Alignment(image, image, t)) for t in (made, spline))
    assert float(found) > 1e-5
    assert torch.allclose(found, expected, rtol=1e-5)


def test_a_network_of_one_value_moves_everything_alike():
    grid = oblique(SHAPES[3])
    made = SINR(6.0).on(grid).requires_grad_(False)
    shift = np.array([1.0, -2.0, 0.5])
    half = grid.extent.max() / 2
    made.network.last.bias.data = torch.tensor(shift @ grid.direction / half).float()
    points = interior(grid)
    assert torch.allclose(made(points) - points, torch.tensor(shift), atol=1e-5)
    assert float(made.bending()) < 1e-10


def test_the_control_points_stay_where_they_are_on_a_finer_grid():
    grid = oblique(SHAPES[3])
    coarse = woken(SINR(5.0).on(grid.shrink((2, 2, 2)))).requires_grad_(False)
    fine = coarse.on(grid)
    assert fine.lattice == coarse.lattice
    assert torch.equal(fine(interior(grid)), coarse(interior(grid)))


def test_it_is_saved_and_read_to_the_bit(tmp_path):
    grid = oblique(SHAPES[3])
    made = woken(SINR(5.0, width=16, omega=3.0, seed=4).on(grid)).requires_grad_(False)
    write_transform(made, tmp_path / "bent.h5")
    back = read_transform(tmp_path / "bent.h5")
    assert isinstance(back, SINR)
    assert torch.equal(back(interior(grid)), made(interior(grid)))


def test_mutual_information_of_the_whole_image_recovers_a_warp_across_contrasts():
    fixed = textured((44, 42), 2).image
    truth = smooth_displacement(fixed.grid, peak=4, sigma=10, seed=3)
    moving = Alignment(fixed, fixed, truth.inverse().requires_grad_(False)).warped.with_mask(None)
    moving = moving.with_data(1 - moving.data**2)
    found = optimise(
        fixed,
        moving,
        "sinr(spacing=6.0, width=64)",
        objective="nmi + 0.1*bending",
        levels=(Level(2, 60, 0), Level(1, 60, 0)),
    ).transform
    with torch.no_grad():
        seen = fixed.data[0, 0] > 0.1
        still = truth.displacement(fixed.grid).norm(dim=1)[0][seen]
        gap = found.displacement(fixed.grid) - truth.displacement(fixed.grid)
        left = gap.norm(dim=1)[0][seen]
    assert float(still.median()) > 1
    assert float(left.median()) < 0.4 * float(still.median())


def test_the_preset_names_parts_that_there_are():
    found = PRESETS["sinr"]
    assert "sinr" in found.ways
    assert all(build(str(level.optimiser)) for level in found.levels)


def test_it_says_what_it_cannot_be():
    with pytest.raises(ValueError, match="sinr takes spacing above 0, not 0"):
        build("sinr(spacing=0)")
    with pytest.raises(ValueError, match=r"call \.on\(grid\) first"):
        SINR().bending()

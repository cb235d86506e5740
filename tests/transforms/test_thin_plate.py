"""Thin-plate splines beside those of SciPy, and what only they do."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.interpolate import RBFInterpolator

from coincide.alignment import pulled
from coincide.files.itk import read_transform, write_transform
from coincide.objective import objective
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.space.image import Image
from coincide.transforms.thin_plate import ThinPlate
from worlds import noise, oblique

SHAPES = {2: (25, 27), 3: (17, 18, 16)}
KERNELS = {2: "thin_plate_spline", 3: "linear"}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def landmarks(dim, count=12, size=1.5, seed=0):
    """Points inside a grid, where they belong, and points between them."""
    grid = oblique(SHAPES[dim])
    random = np.random.default_rng(seed)
    here, other = (
        grid.to_world(random.uniform(2, np.array(grid.shape) - 3, (n, dim))) for n in (count, 60)
    )
    return grid, here, here + size * random.standard_normal(here.shape), other


@both_dimensions
@pytest.mark.parametrize("count", [6, 30])
def test_the_spline_is_that_of_scipy(dim, count):
    _, here, there, other = landmarks(dim, count)
    theirs = RBFInterpolator(here, there, kernel=KERNELS[dim], degree=1)
    found = ThinPlate.of(here, there)(torch.tensor(other)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, theirs(other), atol=1e-7)


@both_dimensions
@pytest.mark.parametrize("smoothing", [1e-3, 0.1, 10.0])
def test_a_smoothed_spline_is_that_of_scipy_in_units_of_the_landmarks(dim, smoothing):
    _, here, there, other = landmarks(dim)
    scale = np.sqrt(((here - here.mean(0)) ** 2).sum(1).mean())
    theirs = RBFInterpolator(
        here / scale, there, kernel=KERNELS[dim], degree=1, smoothing=smoothing
    )
    spline = ThinPlate.of(here, there, smoothing=smoothing)
    found = spline(torch.tensor(other)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, theirs(other / scale), atol=1e-7)


@both_dimensions
def test_landmarks_are_met_and_missed_by_less_the_less_is_smoothed(dim):
    _, here, there, _ = landmarks(dim)
    missed = []
    for smoothing in (0.0, 0.01, 0.1, 1.0, 1e6):
        spline = ThinPlate.of(here, there, smoothing=smoothing)
        found = spline(torch.tensor(here)[None])[0].detach().numpy()
        missed.append(np.linalg.norm(found - there, axis=1).mean())
    assert missed[0] < 1e-9
    assert missed == sorted(missed)
    columns = np.c_[np.ones(len(here)), here]
    affine = columns @ np.linalg.lstsq(columns, there, rcond=None)[0]
    assert missed[-1] == pytest.approx(np.linalg.norm(affine - there, axis=1).mean(), rel=1e-3)


@both_dimensions
def test_an_affine_motion_of_landmarks_is_affine_everywhere(dim):
    grid, here, _, _ = landmarks(dim)
    random = np.random.default_rng(3)
    matrix = np.eye(dim) + 0.2 * random.standard_normal((dim, dim))
    spline = ThinPlate.of(here, here @ matrix.T + 5)
    far = grid.to_world(random.uniform(-100, 100, (50, dim)))
    found = spline(torch.tensor(far)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, far @ matrix.T + 5, atol=1e-6)


def test_landmarks_in_one_plane_leave_what_lies_across_it_alone():
    random = np.random.default_rng(0)
    here = np.c_[random.uniform(0, 20, (9, 2)), np.full(9, 3.0)]
    there = here + np.c_[random.standard_normal((9, 2)), np.zeros(9)]
    spline = ThinPlate.of(here, there)
    found = spline(torch.tensor(here)[None])[0].detach().numpy()
    np.testing.assert_allclose(found, there, atol=1e-8)
    above = spline(torch.tensor(here + np.array([0, 0, 4.0]))[None])[0].detach().numpy()
    np.testing.assert_allclose(above[:, 2], 7, atol=1e-8)
    # one landmark alone is a shift
    lone = ThinPlate.of(np.ones((1, 3)), np.full((1, 3), 3.0))
    moved = lone(torch.zeros(1, 1, 3, dtype=torch.float64)).detach()
    torch.testing.assert_close(moved, torch.full((1, 1, 3), 2.0, dtype=torch.float64))


def test_landmarks_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match=r"pairs .* got \(3, 2\) fixed and \(2, 2\) moving"):
        ThinPlate.of(np.zeros((3, 2)), np.zeros((2, 2)))
    twice = np.array([[0.0, 0], [0, 5], [5, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"a place occurs twice .* smoothing="):
        ThinPlate.of(twice, twice + np.arange(4)[:, None])
    spline = ThinPlate.of(twice, twice + np.arange(4)[:, None], smoothing=1e-9)
    found = spline(torch.zeros(1, 1, 2, dtype=torch.float64))
    # halfway between where the two should go
    torch.testing.assert_close(
        found.detach()[0, 0], torch.full((2,), 1.5).double(), atol=1e-4, rtol=0
    )
    with pytest.raises(ValueError, match=r"no landmarks yet; call .on\(grid\) first"):
        ThinPlate()(torch.zeros(1, 1, 2))
    with pytest.raises(ValueError, match=r"to be inverted on; call .on\(grid\) first"):
        ThinPlate.of(np.eye(2), np.eye(2)).inverse()


@both_dimensions
def test_the_file_gives_back_the_spline_and_itk_the_same_map(dim, tmp_path):
    grid, here, there, other = landmarks(dim, size=0.7)
    for spline in (ThinPlate.of(here, there), ThinPlate.of(here, there, smoothing=0.1).on(grid)):
        path = tmp_path / "spline.h5"
        write_transform(spline, path, grid=grid)
        back = read_transform(path)
        points = torch.tensor(other)[None]
        sign = np.array([-1, -1, 1])[:dim]
        theirs = sitk.ReadTransform(str(path))
        moved = np.array([theirs.TransformPoint((p * sign).tolist()) for p in other]) * sign
        expected = spline(points)[0].detach().numpy()
        assert abs(moved - expected).max() < 0.3  # linear between voxels
        if spline.grid is not None:
            write_transform(spline, path)
            sampled = sitk.ReadTransform(str(path))
            assert sampled.GetNumberOfParameters() == dim * grid.voxels
            assert isinstance(back, ThinPlate)
            assert back.smoothing == 0.1
            torch.testing.assert_close(back(points), spline(points), rtol=0, atol=1e-12)


@both_dimensions
def test_a_lattice_is_optimised_like_any_other_deformation(dim):
    grid = oblique(SHAPES[dim], spacing=1.0)
    fixed = Image(noise(SHAPES[dim], sigma=2.5), grid)
    truth = ThinPlate(12.0).on(grid)
    truth.shifts.data = 0.8 * noise(truth.shifts.shape[2:], seed=4, sigma=0, channels=dim)
    moving = pulled(fixed, truth.inverse().requires_grad_(False), grid).with_mask(None)
    found = optimise(
        fixed,
        moving,
        "thin_plate(spacing=12.0)",
        objective=objective("mse"),
        optimiser="lbfgs",
        levels=(Level(0, 40, 0),),
    ).transform
    inner = grid.crop((4,) * dim, [n - 4 for n in grid.shape])
    with torch.no_grad():
        still = truth.displacement(inner).norm(dim=1)
        left = (found.displacement(inner) - truth.displacement(inner)).norm(dim=1)
    assert float(left.mean()) < 0.35 * float(still.mean())

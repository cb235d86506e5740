import numpy as np
import pytest

from coincide.report.lattice import coarser, facing, inside, on, spaced
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample


def turned(codes):
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for column, letter in enumerate(codes):
        row = next(r for r, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[row, column] = (1 if letter in "RAS" else -1) * (row + 1)
    affine[:3, 3] = 5, 6, 7
    return affine


@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR", "LPI"], ids=lambda codes: f"from {codes}")
def test_facing_turns_any_orientation_to_the_screen(codes):
    grid = Grid((4, 5, 6), turned(codes))
    facing_us = facing(grid)
    assert np.allclose(facing_us.affine[:3, :3], np.diag([-1, -2, -3]))
    assert sorted(facing_us.shape) == [4, 5, 6]
    assert np.allclose(facing_us.centre, grid.centre)


def test_facing_keeps_the_planes_of_an_oblique_image():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn
    facing_us = facing(Grid((4, 5, 6), affine))
    assert np.allclose(np.abs(facing_us.affine[:3, :3].T @ turn).round(6).sum(0), 1)


def test_spaced_covers_the_same_box():
    grid = Grid((10, 20), np.diag([2.0, 1.0, 1.0]))
    fewer = spaced(grid, np.array([4.0, 4.0]))
    assert fewer.shape == (5, 5)
    assert np.allclose(fewer.centre, grid.centre)
    assert np.allclose(fewer.extent, grid.extent)


def test_few_thick_slices_are_kept_where_the_plane_is_made_coarser():
    thick = Grid((600, 600, 9), np.diag([1.0, 1.0, 8.0, 1.0]))
    assert coarser(thick, 300).shape == (300, 300, 9)
    assert coarser(thick, 600) is thick


@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR"], ids=lambda codes: f"from {codes}")
def test_whole_voxels_are_seen_without_copying_them_and_as_they_are(codes):
    values = np.random.default_rng(0).random((7, 8, 9)).astype(np.float32)
    image = Image.from_array(values, turned(codes))
    lattice = facing(image.grid).crop((1, 0, 2), (5, 6, 7))
    seen = on(image, lattice)
    assert np.shares_memory(seen, image.data.numpy())
    assert np.allclose(seen[0], resample(image, lattice).numpy(), atol=1e-5)


def test_what_is_not_whole_voxels_is_interpolated_and_zero_outside():
    image = Image.from_array(np.ones((6, 6), np.float32))
    half = Grid((8, 6), np.array([[1.0, 0, -1.5], [0, 1, 0], [0, 0, 1]]))
    assert on(image, half)[0, 2:7, 2].tolist() == pytest.approx([1] * 5)
    assert on(image, half)[0, 0, 2] == 0
    assert inside(image, half)[:, 2].tolist() == [False, False, *[True] * 5, False]

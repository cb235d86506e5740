import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from coincide.registration import Registration
from coincide.report.slices import Slices, coded, facing, mosaic, spaced, windowed
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.transforms.linear import Affine


@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR", "LPI"], ids=lambda codes: f"from {codes}")
def test_facing_turns_any_orientation_to_the_screen(codes):
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for column, letter in enumerate(codes):
        row = next(r for r, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[row, column] = (1 if letter in "RAS" else -1) * (row + 1)
    affine[:3, 3] = 5, 6, 7
    grid = Grid((4, 5, 6), affine)
    turned = facing(grid)
    assert np.allclose(turned.affine[:3, :3], np.diag([-1, -2, -3]))
    assert sorted(turned.shape) == [4, 5, 6]
    assert np.allclose(turned.centre, grid.centre)


def test_facing_keeps_the_planes_of_an_oblique_image():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn
    turned = facing(Grid((4, 5, 6), affine))
    assert np.allclose(np.abs(turned.affine[:3, :3].T @ turn).round(6).sum(0), 1)


def test_spaced_covers_the_same_box():
    grid = Grid((10, 20), np.diag([2.0, 1.0, 1.0]))
    fewer = spaced(grid, np.array([4.0, 4.0]))
    assert fewer.shape == (5, 5)
    assert np.allclose(fewer.centre, grid.centre)
    assert np.allclose(fewer.extent, grid.extent)


def test_mosaic_keeps_every_voxel():
    volume = np.random.default_rng(0).integers(0, 256, (5, 7, 11)).astype(np.uint8)
    sheet = mosaic(volume, "PNG")
    code = sheet["source"].removeprefix("data:image/png;base64,")
    pixels = np.asarray(Picture.open(io.BytesIO(base64.b64decode(code))))
    for k in range(11):
        row, column = divmod(k, sheet["columns"])
        tile = pixels[row * 7 : row * 7 + 7, column * 5 : column * 5 + 5]
        assert (tile == volume[:, :, k].T).all()


def test_folding_has_a_code_of_its_own():
    stretch, codes = coded(np.array([[-1.0, 0.0, np.nan], [1e-9, 1.0, 1.2]]))
    assert codes[0].tolist() == [0, 0, 0]
    assert codes[1].tolist()[:2] == [1, 128]
    assert stretch == 4


def test_window_holds_the_ends():
    assert windowed(np.array([-5.0, 0.0, 10.0, np.nan], np.float32), 0, 10).tolist() == [
        0,
        0,
        255,
        0,
    ]


def scene(affine):
    """A bright box in the dark, and a transform that differs along every axis."""
    values = np.zeros((60, 50, 40), np.float32)
    values[20:40, 15:40, 10:30] = np.random.default_rng(0).random((20, 25, 20)) + 1
    image = Image.from_array(values, affine)
    matrix = np.diag([1.05, 0.95, 1.1, 1.0])
    matrix[:3, 3] = 1, 2, 3
    return Registration(image, image, Affine(matrix), Affine(np.linalg.inv(matrix)))


def test_the_lattice_is_cropped_to_the_content_and_no_finer():
    result = scene(np.diag([1.0, 1.0, 1.0, 1.0]))
    lattice = Slices(result).lattice
    assert (np.array(lattice.shape) < [50, 45, 38]).all()
    assert np.allclose(lattice.spacing, 1, atol=0.03)
    seen = resample(result.fixed, lattice).numpy()
    assert seen.sum() == pytest.approx(result.fixed.numpy().sum(), rel=0.1)
    assert max(Slices(result, longest=16).lattice.shape) == 16


def test_the_field_is_what_the_transform_says():
    affine = np.array([[0, 0, 2.0, 5], [-1, 0, 0, 6], [0, 1.5, 0, 7], [0, 0, 0, 1]])
    slices = Slices(scene(affine))
    field = slices.data()["field"]
    codes = np.frombuffer(base64.b64decode(field["codes"]), "<i2")
    nx, ny, nz = field["shape"]
    along = codes.reshape(3, nz, ny, nx).transpose(0, 3, 2, 1) * field["unit"]
    at = np.array([2, 3, 1])
    voxel = np.array(field["first"]) + at * np.array(field["step"])
    point = slices.lattice.to_world(voxel)
    with torch.no_grad():
        moved = slices.result.transform(torch.tensor(point)[None, None])[0, 0].numpy()
    # the screen axes run to the left, the back and the feet: against the world
    assert np.allclose(along[:, *at], -(moved - point), atol=0.01)

import base64
import io

import numpy as np
import pytest
from PIL import Image as Picture

from coincide.report import mosaic as module
from coincide.report.mosaic import mosaic


def pixels(source):
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def read(sheets, shape):
    """As the page reads it."""
    width, height, depth = shape
    together = sheets["columns"] * sheets["rows"]
    slices = []
    for k in range(depth):
        sheet = pixels(sheets["sources"][k // together])
        row, column = divmod(k % together, sheets["columns"])
        slices.append(
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        )
    return np.stack(slices, -1)


@pytest.mark.parametrize("largest", [1 << 24, 5 * 7 * 4, 1])
def test_every_voxel_is_kept_in_one_picture_or_in_many(largest, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", largest)
    volume = np.random.default_rng(0).integers(0, 256, (5, 7, 11)).astype(np.uint8)
    sheets = mosaic(volume[None])
    assert (len(sheets["sources"]) == 1) == (largest > 1000)
    assert (read(sheets, volume.shape) == volume.transpose(1, 0, 2)).all()


def test_more_than_255_labels_take_two_bytes():
    volume = np.arange(5 * 7 * 11, dtype=np.uint16).reshape(5, 7, 11) * 60
    sheets = mosaic(volume[None])
    assert sheets["wide"]
    assert sheets["channels"] == 1
    found = read(sheets, volume.shape).astype(int)
    assert (found[:, :, 0] + 256 * found[:, :, 1] == volume.transpose(1, 0, 2)).all()


def test_colours_stay_colours():
    slide = np.zeros((3, 16, 16), np.uint8)
    slide[0, :8], slide[2, 8:] = 200, 220
    sheet = pixels(mosaic(slide, quality=95)["sources"][0]).astype(int)
    assert np.abs(sheet[2, 2] - [200, 0, 0]).max() < 6
    assert np.abs(sheet[2, 14] - [0, 0, 220]).max() < 6

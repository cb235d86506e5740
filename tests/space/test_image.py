import numpy as np
import pytest
import torch

from coincide.space.grid import Grid
from coincide.space.image import Image
from worlds import SHAPES, image, noise, oblique


def test_data_that_do_not_fit_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 5\) do not fit a grid of shape \(5, 4\)"):
        Image(torch.zeros(1, 1, 4, 5), Grid((5, 4), np.eye(3)))


def test_a_mask_of_another_shape_is_refused():
    picture = image(SHAPES[2])
    with pytest.raises(ValueError, match="resample the mask onto the image first"):
        picture.with_mask(torch.ones(1, 1, 4, 4))


def test_the_mean_counts_channels_and_weights():
    data = noise(SHAPES[3], batch=2, channels=3, dtype=torch.float64)
    mask = torch.rand(2, 1, *SHAPES[3], generator=torch.Generator().manual_seed(0)).double()
    found = Image(data, oblique(SHAPES[3]), mask).mean(data)
    for b in range(2):
        expected = np.average(data[b].mean(0).numpy(), weights=mask[b, 0].numpy())
        assert float(found[b]) == pytest.approx(expected, rel=1e-12)


def test_a_standardised_image_has_mean_zero_and_variance_one_inside_its_mask():
    data = 50 + 9 * noise(SHAPES[3], batch=2, channels=2, dtype=torch.float64)
    mask = torch.zeros(2, 1, *SHAPES[3])
    mask[:, :, 2:7] = 1
    found = Image(data, oblique(SHAPES[3]), mask).standardised().data[:, :, 2:7].flatten(2)
    assert float(found.mean(2).abs().max()) < 1e-12
    assert float((found.var(2, correction=0) - 1).abs().max()) < 1e-12


def test_the_range_is_that_inside_the_mask():
    data = torch.arange(20.0).view(1, 1, 4, 5)
    mask = torch.zeros(1, 1, 4, 5)
    mask[..., 1:3, 1:4] = 0.5
    low, high = Image(data, Grid((4, 5), np.eye(3)), mask).range()
    assert (float(low), float(high)) == (6, 13)


def test_a_crop_keeps_the_world_of_its_voxels_and_its_mask():
    picture = image(SHAPES[3]).with_mask((noise(SHAPES[3], seed=5) > 0).float())
    part = picture.crop((1, 2, 3), (6, 9, 8))
    assert torch.equal(part.data, picture.data[..., 1:6, 2:9, 3:8])
    assert torch.equal(part.mask, picture.mask[..., 1:6, 2:9, 3:8])
    assert np.allclose(part.grid.to_world(np.zeros(3)), picture.grid.to_world(np.array([1, 2, 3])))


@pytest.mark.parametrize(
    ("given", "kept"),
    [("float64", torch.float32), ("uint16", torch.int64), ("bool", torch.int64), ("i4", None)],
)
def test_arrays_become_float32_or_stay_integers(given, kept):
    array = np.arange(12).reshape(3, 4).astype(given)
    picture = Image.from_array(array)
    assert picture.data.dtype == (kept or torch.int32)
    assert np.array_equal(picture.numpy(), array)
    assert np.array_equal(picture.grid.affine, np.eye(3))

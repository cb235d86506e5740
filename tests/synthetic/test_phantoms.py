import numpy as np
import pytest
import torch

from coincide.space.grid import Grid
from coincide.synthetic.phantoms import centred, ellipsoid, textured

OBLIQUE = np.array([[0, 1.5, 0.2, 5], [-2, 0, 0.1, -30], [0, 0.3, 3, 12], [0, 0, 0, 1]])
every_shape = pytest.mark.parametrize("shape", [(30, 24), (20, 24, 18)])


def test_a_centred_grid_has_its_middle_at_the_world_origin():
    grid = centred((7, 8, 9), (1, 2, 3))
    assert np.allclose(grid.centre, 0)
    assert np.allclose(grid.spacing, (1, 2, 3))


def test_an_ellipsoid_has_the_volume_of_an_ellipsoid():
    image = ellipsoid((40, 44, 36), 0.5, radii=(6, 8, 5))
    volume = float(image.data.sum()) * 0.5**3
    assert volume == pytest.approx(4 / 3 * np.pi * 6 * 8 * 5, rel=0.01)


def test_an_ellipsoid_lies_in_the_middle_of_an_oblique_grid():
    image = ellipsoid((30, 24, 20), affine=OBLIQUE)
    data = image.numpy()
    place = np.argwhere(np.ones_like(data)) * data.reshape(-1, 1) / data.sum()
    assert np.allclose(image.grid.to_world(place.sum(0)), image.grid.centre, atol=1e-4)


@every_shape
def test_the_same_seed_gives_the_same_bits(shape):
    one, two, other = textured(shape, 4), textured(shape, 4), textured(shape, 5)
    assert torch.equal(one.image.data, two.image.data)
    assert torch.equal(one.labels.data, two.labels.data)
    assert not torch.equal(one.image.data, other.image.data)


@every_shape
@pytest.mark.parametrize("seed", range(4))
def test_labels_and_image_agree_on_where_the_body_is(shape, seed):
    phantom = textured(shape, seed, spacing=2, regions=6)
    image, labels = phantom.image.data, phantom.labels.data
    assert phantom.image.grid == phantom.labels.grid
    assert image.dtype == torch.float32
    assert not labels.is_floating_point()
    assert set(labels.unique().tolist()) <= set(range(8))
    assert (image[labels > 0] > 0).all()
    assert image[labels == 0].max() < image[labels > 0].max() / 1.5
    assert (image >= 0).all()


def test_regions_without_texture_are_flat_inside():
    phantom = textured((64, 64), 1, regions=5, texture=0)
    data, labels = phantom.image.data, phantom.labels.data
    for label in labels.unique()[1:]:
        region = data[labels == label]
        level = region.median()
        assert ((region - level).abs() < 1e-6).float().mean() > 0.5


def test_a_finer_grid_shows_the_same_anatomy():
    coarse = textured((24, 24, 24), 2, spacing=3)
    fine = textured((72, 72, 72), 2, spacing=1)
    same = fine.labels.data[..., 1::3, 1::3, 1::3] == coarse.labels.data
    assert same.float().mean() > 0.97


def test_any_affine_is_kept():
    phantom = textured((16, 20, 12), affine=OBLIQUE)
    assert phantom.image.grid == Grid((16, 20, 12), OBLIQUE)
    assert phantom.labels.data.max() > 1

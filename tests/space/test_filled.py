import numpy as np
import pytest
import torch

from coincide.space.filled import filled
from coincide.space.image import Image
from worlds import SHAPES, image, noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def masked(dim: int, *, threshold: float = 0.3, spoiled: float = 1000.0) -> Image:
    """A smooth random image whose masked-out voxels are far too bright, or not numbers."""
    picture = image(SHAPES[dim], seed=1, batch=2)
    mask = (noise(SHAPES[dim], seed=2, batch=2) > threshold).float()
    return picture.with_data(torch.where(mask > 0, picture.data, spoiled)).with_mask(mask)


@both_dimensions
@pytest.mark.parametrize("spoiled", [1000.0, np.nan])
def test_what_is_inside_stays_and_what_is_outside_lies_within_its_range(dim, spoiled):
    picture = masked(dim, spoiled=spoiled)
    result = filled(picture)
    inside = picture.mask > 0
    assert torch.equal(result.data[inside], picture.data[inside])
    assert torch.equal(result.mask, picture.mask)
    for b in range(2):
        kept = picture.data[b][inside[b]]
        assert float(result.data[b].min()) >= float(kept.min()) - 1e-5
        assert float(result.data[b].max()) <= float(kept.max()) + 1e-5


@both_dimensions
def test_values_outside_the_mask_do_not_matter(dim):
    one, other = filled(masked(dim)), filled(masked(dim, spoiled=-7.0))
    assert torch.equal(one.data, other.data)


@both_dimensions
def test_a_slow_slope_goes_on_across_a_hole(dim):
    shape = (40, 36, 32)[:dim]
    grid = oblique(shape, spacing=1.0)
    index = np.indices(shape).astype(np.float32)
    slope = torch.tensor(index[0] * 0.1)[None, None]
    middle = (np.array(shape) - 1) / 2
    hole = np.linalg.norm(np.moveaxis(index, 0, -1) - middle, axis=-1) < 5
    mask = torch.tensor(~hole, dtype=torch.float32)[None, None]
    result = filled(Image(torch.where(mask > 0, slope, 50.0), grid, mask))
    gap = (result.data - slope).abs()
    # across the hole the slope rises by 1; its mean alone would be off by 0.5
    assert float(gap.max()) < 0.4
    assert float(gap[mask == 0].mean()) < 0.15


def test_far_from_everything_that_counts_the_mean_is_found():
    grid = oblique((33, 31))
    mask = torch.zeros(1, 1, 33, 31)
    mask[..., 2, 3] = 1
    data = torch.full((1, 1, 33, 31), 9.0)
    data[..., 2, 3] = 4.0
    assert float((filled(Image(data, grid, mask)).data - 4).abs().max()) < 1e-5


@pytest.mark.parametrize("shape", [(1, 7, 5), (2, 1, 9), (1, 1), (2, 2)], ids=str)
def test_thin_images_are_filled_too(shape):
    mask = torch.zeros(1, 1, *shape)
    mask.view(-1)[0] = 0.5
    data = torch.full((1, 1, *shape), torch.nan)
    data.view(-1)[0] = 3.0
    result = filled(Image(data, oblique(shape), mask))
    assert torch.allclose(result.data, torch.full_like(data, 3.0))


def test_without_a_mask_or_with_labels_nothing_changes():
    picture = image(SHAPES[2])
    assert filled(picture) is picture
    labels = Image(picture.data.long(), picture.grid, torch.zeros_like(picture.data))
    assert filled(labels) is labels


def test_an_empty_mask_gives_finite_values():
    picture = image(SHAPES[2]).with_mask(torch.zeros(1, 1, *SHAPES[2]))
    assert bool(torch.isfinite(filled(picture).data).all())

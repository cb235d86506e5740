"""What holds for every registered search."""

import numpy as np
import pytest
import torch

from coincide.alignment import pulled
from coincide.kernels.smooth import gaussian
from coincide.objective import Similarity
from coincide.registry import build, parts
from coincide.search.search import Search
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured
from coincide.transforms.jacobian import determinant

every_search = pytest.mark.parametrize("name", parts(Search))
SETTINGS = "(step=4, reach=16{})"
SHAPES = {"2-D": (71, 64), "3-D": (45, 41, 38)}
both_dimensions = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def search(name, extra=""):
    return build(name + SETTINGS.format(extra and ", " + extra), Search)


def pair(shape, peak=12.0, seed=1):
    """A phantom, the same deformed, the displacement back, and where the phantom shows a body."""
    phantom = textured(shape, seed=seed, spacing=2.0, texture=0.3)
    there = smooth_displacement(phantom.image.grid, peak=peak, sigma=20, seed=seed + 1)
    there.requires_grad_(False)
    moving = pulled(phantom.image, there, phantom.image.grid).with_mask(None)
    return phantom.image, moving, there.inverse().field.detach(), phantom.labels.data[:, 0] > 0


def field(found, grid):
    return found.transform.on(grid).field.detach()


@every_search
@both_dimensions
def test_a_large_deformation_is_found_to_a_voxel(name, shape):
    fixed, moving, truth, inside = pair(shape)
    found = search(name).pick(fixed, moving)
    got = field(found, fixed.grid)
    error = (got - truth).norm(dim=1)[inside]
    start = truth.norm(dim=1)[inside]
    assert start.mean() > 3.0
    assert error.mean() < 2.0
    assert float((determinant(got, fixed.grid) <= 0).double().mean()) < 0.001
    assert 0 < found.cost < 0.5
    assert {step.stage for step in found.history} == {name}
    assert {step.level for step in found.history} == {0, 1}


@every_search
def test_another_contrast_is_found_as_well(name):
    fixed, moving, truth, inside = pair(SHAPES["2-D"])
    found = search(name).pick(fixed, remap(moving, seed=3))
    assert (field(found, fixed.grid) - truth).norm(dim=1)[inside].mean() < 2.5


@every_search
@pytest.mark.parametrize("shape", [(33, 30), (19, 22, 17), (40, 41, 5), (6, 7)])
def test_identical_images_stay_in_place(name, shape):
    image = textured(shape, spacing=2.0).image
    found = search(name).pick(image, image)
    assert float(found.transform.field.detach().abs().max()) < 1e-3


@every_search
def test_constant_images_stay_in_place(name):
    image = Image.from_array(np.full((30, 28), 7.0))
    found = search(name).pick(image, image)
    assert float(found.transform.field.detach().abs().max()) < 1e-6


@every_search
def test_the_same_pair_gives_the_same_bits(name):
    fixed, moving, *_ = pair(SHAPES["2-D"])
    one, two = (search(name).pick(fixed, moving) for _ in range(2))
    assert torch.equal(one.transform.field, two.transform.field)
    assert torch.equal(one.confidence.data, two.confidence.data)
    assert one.history == two.history


@every_search
def test_what_a_mask_leaves_out_has_no_say(name):
    fixed, moving, truth, inside = pair(SHAPES["2-D"])
    mask = torch.ones_like(fixed.data)
    mask[..., 45:] = 0
    spoilt = fixed.data.clone()
    spoilt[..., 50:] = torch.rand(
        spoilt[..., 50:].shape, generator=torch.Generator().manual_seed(0)
    )
    kept = search(name, "similarity='mse'").pick(fixed.with_mask(mask), moving)
    other = search(name, "similarity='mse'").pick(Image(spoilt, fixed.grid, mask), moving)
    near = (mask[:, 0] > 0) & inside
    for found in (kept, other):
        gap = (field(found, fixed.grid) - truth).norm(dim=1)[near]
        assert gap.mean() < 2.0
    apart = field(kept, fixed.grid) - field(other, fixed.grid)
    assert float(apart.norm(dim=1)[near].mean()) < 0.1


@every_search
def test_leaving_the_image_does_not_pay(name):
    # the moving image shows one half only
    fixed = textured((64, 64), seed=2, spacing=2.0, texture=0.3).image
    half = fixed.crop((0, 0), (64, 32))
    found = search(name).pick(fixed, half)
    got = field(found, fixed.grid)[0].norm(dim=0)
    assert float(got[:, :28].mean()) < 1.0


@every_search
def test_the_moving_image_may_lie_on_another_grid(name):
    fixed, moving, truth, inside = pair(SHAPES["2-D"])
    turned = np.array([[0, 1.3, -62.0], [-1.7, 0, 80.0], [0, 0, 1]])
    other = Grid((94, 96), turned)
    resampled = pulled(
        moving, smooth_displacement(other, peak=0, sigma=9).requires_grad_(False), other
    )
    found = search(name).pick(fixed, resampled)
    assert (field(found, fixed.grid) - truth).norm(dim=1)[inside].mean() < 2.2


@every_search
def test_confidence_is_high_on_texture_and_low_where_all_is_flat(name):
    rough = torch.randn(1, 1, 80, 80, generator=torch.Generator().manual_seed(0))
    data = 10 * gaussian(rough, [1.5, 1.5])
    data[..., 40:] = 0
    image = Image(data, Grid((80, 80), np.diag([2.0, 2.0, 1.0])))
    clear = search(name, "similarity='mse', levels=1, spacing=16").pick(image, image).confidence
    assert clear.data.min() >= 0
    assert clear.data.max() <= 1
    columns = clear.data[0, 0].mean(0)
    assert columns[1:4].min() > 0.8
    assert columns[-4:-1].max() < 0.35


@every_search
@pytest.mark.parametrize("text", ["lncc", "nmi"])
def test_a_similarity_that_is_no_squared_difference_is_refused(name, text):
    image = textured((20, 20)).image
    known = ", ".join(n for n, part in parts(Similarity).items() if part.squared)
    with pytest.raises(ValueError, match=rf"which '{text}' does not; use {known}$"):
        search(name, f"similarity='{text}'").pick(image, image)


@every_search
def test_a_batch_is_refused(name):
    image = textured((20, 20)).image
    both = Image(torch.cat([image.data] * 2), image.grid)
    with pytest.raises(ValueError, match="one pair of the same dimension"):
        search(name).pick(both, both)

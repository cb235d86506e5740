"""What holds for every registered similarity."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.objective import Similarity
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Translation
from worlds import noise, oblique

SHAPES = {2: (26, 24), 3: (15, 16, 14)}
ANY_RELATION = ("correlation_ratio", "local_mi", "local_nmi", "mi", "nmi")
BLIND_TO_SIGN = ("edges", "lncc", "lncc_gaussian", "mind", "mind_ssc", "ngf")
LINEAR = ("distance_map", "ncc", "ssim", "standardised", *BLIND_TO_SIGN, *ANY_RELATION)
POINTWISE = (
    "correlation_ratio",
    "distance_map",
    "huber",
    "lncc",
    "mi",
    "mse",
    "ncc",
    "nmi",
    "overlap",
)

every_similarity = pytest.mark.parametrize("name", parts(Similarity))
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def picture(name: str, dim: int, *, seed=0, batch=1, dtype=torch.float64) -> Image:
    """A smooth random image, or labels 0 to 4 for what compares labels."""
    data = noise(SHAPES[dim], seed=seed, sigma=1.5, batch=batch, dtype=dtype)
    if name == "overlap":
        data = (data * 1.2).round().long().clamp(-2, 2) + 2
    return Image(data, oblique(SHAPES[dim], spacing=1.2))


def compared(name: str, fixed: Image, warped: Image, mask=None) -> torch.Tensor:
    """Cost of two images on one grid, prepared as an alignment would."""
    part = build(name)
    f, w = part.prepared(fixed, warped)
    return part.compare(f, w.with_mask(w.mask if mask is None else mask))


def moved_by(shift: np.ndarray, dim: int) -> Translation:
    matrix = np.eye(dim + 1)
    matrix[:-1, -1] = shift
    return Translation(matrix).requires_grad_(False)


@every_similarity
@both_dimensions
def test_an_image_is_most_similar_to_itself(name, dim):
    image, part = picture(name, dim), build(name)
    best = float(part(Alignment(image, image, moved_by(np.zeros(dim), dim))))
    for axis in range(dim):
        for sign in (-1, 1):
            shift = sign * image.grid.affine[:-1, axis]
            assert float(part(Alignment(image, image, moved_by(shift, dim)))) > best + 1e-3
    assert float(compared(name, image, picture(name, dim, seed=9))) > best + 0.01


@every_similarity
@both_dimensions
def test_the_cost_rises_with_the_shift_until_structures_part(name, dim):
    image, part = picture(name, dim), build(name)
    step = image.grid.affine[:-1, 0]
    costs = [float(part(Alignment(image, image, moved_by(s * step, dim)))) for s in (0, 0.5, 1, 2)]
    assert costs == sorted(costs)


@pytest.mark.parametrize("name", LINEAR)
@both_dimensions
def test_brightness_and_contrast_do_not_matter(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    moving = moving.with_data(0.6 * fixed.data + moving.data)
    expected = float(compared(name, fixed, moving))
    for scale, offset in [(250.0, 0.0), (1.0, 40.0), (0.01, -3.0)]:
        changed = moving.with_data(scale * moving.data + offset)
        assert float(compared(name, fixed, changed)) == pytest.approx(expected, rel=1e-6)
        changed = fixed.with_data(scale * fixed.data + offset)
        assert float(compared(name, changed, moving)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", BLIND_TO_SIGN + ANY_RELATION)
@both_dimensions
def test_inverted_contrast_does_not_matter(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    moving = moving.with_data(0.6 * fixed.data + moving.data)
    expected = float(compared(name, fixed, moving))
    inverted = moving.with_data(7 - 3 * moving.data)
    assert float(compared(name, fixed, inverted)) == pytest.approx(expected, rel=1e-6)
    inverted = fixed.with_data(7 - 3 * fixed.data)
    assert float(compared(name, inverted, moving)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["mse", "ncc"])
def test_inverted_contrast_matters_to_what_compares_intensities(name):
    image = picture(name, 3)
    assert float(compared(name, image, image.with_data(-image.data))) > 1.5


@pytest.mark.parametrize("name", POINTWISE)
@both_dimensions
def test_a_mask_is_a_crop(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    start, stop = (3,) * dim, tuple(n - 4 for n in SHAPES[dim])
    mask = torch.zeros(1, 1, *SHAPES[dim])
    mask[(..., *(slice(a, b) for a, b in zip(start, stop, strict=True)))] = 1
    masked = compared(name, fixed.with_mask(mask), moving.with_mask(mask))
    cropped = compared(name, fixed.crop(start, stop), moving.crop(start, stop))
    torch.testing.assert_close(masked, cropped, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(masked, compared(name, fixed, moving), rtol=1e-3)


@every_similarity
@both_dimensions
def test_what_lies_outside_the_mask_does_not_count(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    mask = torch.zeros(1, 1, *SHAPES[dim])
    mask[:, :, 5:-5] = 1
    # up to the voxel next to the mask: no feature may look across its border
    changed = moving.data.clone()
    changed[:, :, :5] = 4 if name == "overlap" else 100
    expected = compared(name, fixed.with_mask(mask), moving.with_mask(mask))
    found = compared(name, fixed.with_mask(mask), moving.with_data(changed).with_mask(mask))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@every_similarity
@both_dimensions
def test_half_a_weight_everywhere_is_as_good_as_a_whole(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    whole = torch.ones(1, 1, *SHAPES[dim])
    one = compared(name, fixed.with_mask(whole), moving.with_mask(whole))
    half = compared(name, fixed.with_mask(whole / 2), moving.with_mask(whole / 2))
    torch.testing.assert_close(half, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mind", "mind_ssc", "mse", "ngf"])
@both_dimensions
def test_a_soft_weight_acts_in_proportion(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    left = (noise(SHAPES[dim], seed=3) > 0.2).double()
    parts_ = {1.0: left, 0.3: 1 - left}
    together = compared(name, fixed, moving, sum(w * m for w, m in parts_.items()))
    each = sum(w * float(m.sum()) * compared(name, fixed, moving, m) for w, m in parts_.items())
    mass = sum(w * float(m.sum()) for w, m in parts_.items())
    torch.testing.assert_close(together, each / mass, rtol=1e-9, atol=1e-12)


# distances near the end of a picture are those to the surfaces that are still in it
@pytest.mark.parametrize("name", [n for n in parts(Similarity) if n != "distance_map"])
@both_dimensions
def test_content_that_leaves_the_view_does_not_pay(name, dim):
    # images that repeat look the same after a whole period, but for what is out of view
    period, shape = 8, {2: (48, 20), 3: (40, 10, 9)}[dim]

    def repeated(seed: int) -> torch.Tensor:
        one = noise((3 * period, *shape[1:]), seed=seed, sigma=1.2, dtype=torch.float64)
        return torch.cat([one[:, :, period : 2 * period]] * (shape[0] // period), 2)

    fixed, moving = repeated(0), 0.5 * repeated(0) + repeated(1)
    if name == "overlap":
        fixed, moving = (((1.2 * x).round().long().clamp(-2, 2) + 2) for x in (fixed, moving))
    grid, part = oblique(shape, spacing=1.2), build(name)
    step = period * grid.affine[:-1, 0]
    images = Image(fixed, grid), Image(moving, grid)
    costs = [float(part(Alignment(*images, moved_by(n * step, dim)))) for n in range(4)]
    assert min(costs[1:]) > costs[0] - 0.005 * abs(costs[0])
    if name in POINTWISE and name != "lncc":
        assert costs == pytest.approx([costs[0]] * 4, rel=1e-6)


@every_similarity
@both_dimensions
def test_nothing_in_view_is_worse_than_a_good_match(name, dim):
    image, part = picture(name, dim), build(name)
    best = float(part(Alignment(image, image, moved_by(np.zeros(dim), dim))))
    gone = float(part(Alignment(image, image, moved_by(np.full(dim, 500.0), dim))))
    assert gone > best + 0.02


@every_similarity
@both_dimensions
def test_pairs_of_a_batch_do_not_mix(name, dim):
    fixed, moving = picture(name, dim, batch=3), picture(name, dim, seed=1, batch=3)
    mask = (noise(SHAPES[dim], seed=3, batch=3) > -0.5).float()
    mask[1] = 1
    fixed = fixed.with_mask(mask)
    moving = moving.with_data(moving.data * (1 if name == "overlap" else 4))
    whole = compared(name, fixed, moving, mask)
    assert whole.shape == (3,)
    for b in range(3):
        one = Image(fixed.data[b : b + 1], fixed.grid, mask[b : b + 1])
        other = Image(moving.data[b : b + 1], moving.grid)
        alone = compared(name, one, other, mask[b : b + 1])
        torch.testing.assert_close(whole[b : b + 1], alone, rtol=1e-6, atol=1e-8)
    assert float(whole.std()) > 1e-4


@every_similarity
@both_dimensions
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_the_gradient_of_a_displacement_is_finite_differences(name, dim, masked):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)
    if masked:
        fixed = fixed.with_mask((noise(SHAPES[dim], seed=3) > -0.3).double())
    part = build(name)
    field = noise(SHAPES[dim], seed=4, sigma=2, channels=dim, dtype=torch.float64)
    way = noise(SHAPES[dim], seed=5, sigma=2, channels=dim, dtype=torch.float64)
    transform = Displacement(field=field, grid=fixed.grid)
    features = part.prepared(fixed, moving)
    one, other = (f.with_data(f.data.double()) for f in features)

    def cost(step: float) -> torch.Tensor:
        transform.field.data = field + step * way
        return part(Alignment(fixed, moving, transform, prepared={part: (one, other)})).sum()

    cost(0).backward()
    slope = float((transform.field.grad * way).sum())
    with torch.no_grad():
        expected = float(cost(1e-6) - cost(-1e-6)) / 2e-6
    assert abs(expected) > 1e-5
    assert slope == pytest.approx(expected, rel=1e-4)


@every_similarity
@both_dimensions
@pytest.mark.parametrize("case", ["fixed", "moving", "both"])
def test_constant_images_have_a_finite_cost_and_gradient(name, dim, case):
    fixed = picture(name, dim, dtype=torch.float32)
    moving = picture(name, dim, seed=1, dtype=torch.float32)
    if case != "moving":
        fixed = fixed.with_data(torch.full_like(fixed.data, 3))
    if case != "fixed":
        moving = moving.with_data(torch.full_like(moving.data, 3))
    transform = Displacement().on(fixed.grid)
    cost = build(name)(Alignment(fixed, moving, transform)).sum()
    cost.backward()
    assert bool(torch.isfinite(cost.detach()))
    assert bool(torch.isfinite(transform.field.grad).all())


@every_similarity
@both_dimensions
def test_nothing_left_to_compare_gives_a_finite_cost_without_gradient(name, dim):
    fixed = picture(name, dim, dtype=torch.float32)
    moving = picture(name, dim, seed=1, dtype=torch.float32)
    empty = torch.zeros(1, 1, *SHAPES[dim])
    for one, far in ((fixed.with_mask(empty), 0.0), (fixed, 500.0)):
        transform = Displacement().on(fixed.grid)
        transform.field.data += far
        cost = build(name)(Alignment(one, moving, transform)).sum()
        cost.backward()
        assert bool(torch.isfinite(cost))
        assert float(transform.field.grad.abs().max()) == 0


@every_similarity
def test_thick_slices_and_a_single_slice_are_compared_too(name):
    data = (
        noise((14, 15, 1), seed=1, sigma=0)
        if name != "overlap"
        else torch.ones(1, 1, 14, 15, 1, dtype=torch.int64)
    )
    image = Image(data, Grid((14, 15, 1), np.diag([1.0, 1, 6, 1])))
    best = float(compared(name, image, image))
    assert np.isfinite(best)
    if name != "overlap":
        assert float(compared(name, image, image.with_data(data.flip(2)))) > best


@every_similarity
@both_dimensions
def test_swapping_the_storage_order_changes_nothing(name, dim):
    fixed, moving = picture(name, dim), picture(name, dim, seed=1)

    def swapped(image: Image) -> Image:
        affine = image.grid.affine[:, [*range(dim)[::-1], dim]]
        data = image.data.permute(0, 1, *range(2, dim + 2)[::-1]).contiguous()
        return Image(data, Grid(data.shape[2:], affine))

    expected = compared(name, fixed, moving)
    found = compared(name, swapped(fixed), swapped(moving))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@every_similarity
@both_dimensions
def test_what_is_called_squared_is_the_mean_squared_difference_and_nothing_else_is(name, dim):
    part = build(name)
    fixed, warped = (part.prepare(picture(name, dim, seed=n)) for n in (0, 5))
    mask = noise(SHAPES[dim], seed=6, dtype=torch.float64).clamp(0, 1)
    difference = fixed.with_data(warped.data - fixed.data).with_mask(mask)
    expected = float(difference.mean(difference.data**2))
    same = float(part.compare(fixed, warped.with_mask(mask))) == pytest.approx(expected, rel=1e-6)
    assert same == part.squared

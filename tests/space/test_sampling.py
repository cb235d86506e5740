import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.ndimage import map_coordinates

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample, sample
from worlds import SHAPES, image, noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def ramp(grid: Grid, slope) -> Image:
    """A linear function of the world."""
    values = grid.points() @ torch.tensor(slope) + 3
    return Image(values.view(1, 1, *grid.shape), grid)


def to_itk(picture: Image) -> sitk.Image:
    """The same image in SimpleITK: LPS world, last file axis first in the array."""
    grid = picture.grid
    flip = np.diag([-1.0, -1, 1][: grid.dim])
    found = sitk.GetImageFromArray(picture.numpy().transpose())
    found.SetSpacing(grid.spacing.tolist())
    found.SetOrigin((flip @ grid.origin).tolist())
    found.SetDirection((flip @ grid.direction).ravel().tolist())
    return found


@both_dimensions
@pytest.mark.parametrize("seed", range(4))
def test_a_linear_ramp_is_sampled_exactly_at_any_world_point(dim, seed):
    grid = oblique(SHAPES[dim], seed=seed)
    slope = np.random.default_rng(seed).standard_normal(dim)
    inner = np.random.default_rng(seed).uniform(0, np.array(grid.shape) - 1, (50, dim))
    points = torch.tensor(grid.to_world(inner))[None]
    values, inside = sample(ramp(grid, slope), points)
    assert bool(inside.all())
    expected = points[0] @ torch.tensor(slope) + 3
    assert float((values[0, :, 0] - expected).abs().max()) < 1e-10
    single = sample(ramp(grid, slope), points.float())[0]
    assert float((single[0, :, 0] - expected).abs().max()) < 2e-5


@both_dimensions
def test_points_outside_are_zero_or_the_border_value(dim):
    grid = oblique(SHAPES[dim])
    picture = ramp(grid, np.ones(dim))
    index = np.array([np.full(dim, -0.4), np.full(dim, -0.6), np.full(dim, 100.0)])
    points = torch.tensor(grid.to_world(index))[None]
    values, inside = sample(picture, points)
    held, _ = sample(picture, points, clamp=True)
    first, last = picture.data.flatten()[[0, -1]]
    assert inside[0, :, 0].tolist() == [1, 0, 0]
    assert torch.allclose(values[0, :, 0], torch.stack([first, 0 * first, 0 * first]))
    assert torch.allclose(held[0, :, 0], torch.stack([first, first, last]))


@both_dimensions
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
@pytest.mark.parametrize("seed", range(3))
def test_resampling_agrees_with_simpleitk_on_oblique_grids(dim, interpolation, seed):
    picture = image(SHAPES[dim], seed=seed, grid=oblique(SHAPES[dim], seed=seed))
    grid = oblique((14, 15, 13)[:dim], seed=seed + 10, spacing=1.1)
    found = resample(picture, grid, interpolation=interpolation)
    like = to_itk(Image(torch.zeros(1, 1, *grid.shape), grid))
    kind = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[interpolation]
    there = sitk.Resample(to_itk(picture), like, sitk.Transform(dim, sitk.sitkIdentity), kind, 0.0)
    whole = picture.with_data(torch.ones_like(picture.data))
    valid = sitk.Resample(to_itk(whole), like, sitk.Transform(dim, sitk.sitkIdentity), kind, 0.0)
    known = sitk.GetArrayFromImage(valid).transpose()
    assert 0.2 < known.mean() < 0.95
    assert np.array_equal(found.mask[0, 0].numpy(), known)
    assert np.abs(found.numpy() - sitk.GetArrayFromImage(there).transpose()).max() < 2e-5


def test_the_border_reaches_half_a_voxel_as_in_simpleitk():
    line = Image.from_array(np.array([[5.0], [6.0], [7.0]], np.float32))
    offsets = [-0.51, -0.49, 0.0, 1.5, 2.49, 2.51]
    for offset in offsets:
        affine = np.eye(3)
        affine[0, 2] = offset
        grid = Grid((1, 1), affine)
        like = to_itk(Image(torch.zeros(1, 1, 1, 1), grid))
        identity = sitk.Transform(2, sitk.sitkIdentity)
        expected = sitk.Resample(to_itk(line), like, identity, sitk.sitkLinear, 0.0)
        value = sitk.GetArrayFromImage(expected)[0, 0]
        found = resample(line, grid)
        assert float(found.data) == pytest.approx(value, abs=1e-6)
        assert float(found.mask) == (value != 0)


@both_dimensions
def test_a_displacement_in_millimetres_agrees_with_simpleitk(dim):
    picture = image(SHAPES[dim], seed=1)
    grid = oblique((12, 11, 10)[:dim], seed=4, spacing=1.3)
    field = 1.5 * noise(grid.shape, seed=2, sigma=2, channels=dim, dtype=torch.float64)
    found = resample(picture, grid, field.float())
    flip = np.array([-1.0, -1, 1][:dim])
    vectors = np.moveaxis(field[0].numpy() * flip.reshape(-1, *(1,) * dim), 0, -1)
    vectors = sitk.GetImageFromArray(
        np.ascontiguousarray(vectors.transpose(*range(dim)[::-1], dim)), isVector=True
    )
    like = to_itk(Image(torch.zeros(1, 1, *grid.shape), grid))
    vectors.CopyInformation(like)
    moved = sitk.DisplacementFieldTransform(sitk.Cast(vectors, sitk.sitkVectorFloat64))
    expected = sitk.Resample(to_itk(picture), like, moved, sitk.sitkLinear, 0.0)
    assert np.abs(found.numpy() - sitk.GetArrayFromImage(expected).transpose()).max() < 5e-5


@both_dimensions
def test_cubic_interpolation_is_that_of_scipy(dim):
    picture = image(SHAPES[dim], seed=1, batch=2)
    grid = oblique((9, 8, 7)[:dim], seed=3, spacing=0.6)
    found = resample(picture, grid, interpolation="cubic")
    at = grid.index_in(picture.grid) @ np.concatenate(
        [np.indices(grid.shape), np.ones((1, *grid.shape))]
    ).reshape(dim + 1, -1)
    inner = found.mask[0, 0].numpy().ravel() > 0
    # SciPy mirrors beyond the outermost centres, Coincide continues the border value
    held = np.clip(at[:-1], 0, np.array(SHAPES[dim])[:, None] - 1)
    for b in range(2):
        expected = (
            map_coordinates(picture.data[b, 0].double().numpy(), held, order=3, mode="mirror")
            * inner
        )
        assert np.abs(found.data[b, 0].numpy().ravel() - expected).max() < 1e-5
    assert 0.3 < inner.mean() <= 1


@both_dimensions
def test_cubic_interpolation_passes_through_the_voxels(dim):
    picture = image(SHAPES[dim], seed=1)
    found = resample(picture, picture.grid, interpolation="cubic")
    assert float((found.data - picture.data).abs().max()) < 1e-5


@both_dimensions
def test_the_label_is_the_one_with_the_largest_linear_weight(dim):
    grid = oblique(SHAPES[dim])
    labels = (noise(SHAPES[dim], seed=1, sigma=1) * 2).round().long() + 5
    finer = oblique(SHAPES[dim], seed=1, spacing=0.9)
    found = resample(Image(labels, grid), finer, interpolation="label")
    ids = labels.unique()
    weights = torch.cat([resample(Image((labels == i).double(), grid), finer).data for i in ids], 1)
    inside = found.mask > 0
    # the winner may tie with another; then either is right
    chosen = torch.stack([(found.data[:, 0] == i) for i in ids], 1)
    gap = weights.amax(1, keepdim=True) - (weights * chosen).sum(1, keepdim=True)
    assert len(ids) > 4
    assert float(gap[inside].max()) < 1e-9
    assert bool((found.data[~inside] == 0).all())


@pytest.mark.parametrize("interpolation", ["nearest", "label"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_no_label_is_invented_and_none_is_rounded(interpolation, dtype):
    top = torch.iinfo(dtype).max
    ids = torch.tensor([0, 1, 7, top - 1, top] + ([2**24 + 1, 2**24 + 3] if top > 2**25 else []))
    picked = (noise(SHAPES[3], seed=1, sigma=1).abs() * 3).long().clamp_max(len(ids) - 1)
    labels = ids[picked].to(dtype)
    grid = oblique(SHAPES[3], seed=5, spacing=0.8)
    found = resample(Image(labels, oblique(SHAPES[3])), grid, interpolation=interpolation)
    assert found.data.dtype == dtype
    assert set(found.data.unique().tolist()) <= {0, *labels.unique().tolist()}
    assert {top - 1, top} <= set(found.data.unique().tolist())


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_labels_are_not_interpolated_as_intensities(interpolation):
    picture = Image(torch.ones(1, 1, 4, 4, dtype=torch.int32), Grid((4, 4), np.eye(3)))
    with pytest.raises(ValueError, match="would invent values between labels"):
        resample(picture, picture.grid, interpolation=interpolation)


def test_an_unknown_interpolation_is_refused_by_name():
    with pytest.raises(ValueError, match="'lanczos'; known: linear, nearest, cubic, label"):
        resample(image(SHAPES[2]), image(SHAPES[2]).grid, interpolation="lanczos")


@both_dimensions
@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
def test_a_linear_map_after_the_displacement_is_one_interpolation(dim, interpolation):
    picture = image(SHAPES[dim], seed=1)
    grid = oblique((9, 8, 7)[:dim], seed=3, spacing=0.7)
    field = noise(grid.shape, seed=2, sigma=2, channels=dim)
    after = np.eye(dim + 1)
    after[:-1] += 0.1 * np.random.default_rng(0).standard_normal((dim, dim + 1))
    found = resample(picture, grid, field, after=after, interpolation=interpolation)
    points = grid.points().reshape(1, -1, dim) + field.double().flatten(2).transpose(1, 2)
    moved = points @ torch.tensor(after[:-1, :-1].T) + torch.tensor(after[:-1, -1])
    total = (moved - grid.points()).transpose(1, 2).reshape(1, dim, *grid.shape)
    expected = resample(picture, grid, total.float(), interpolation=interpolation)
    same = (found.data - expected.data).abs() < 1e-4
    assert float(same.float().mean()) > (0.99 if interpolation == "nearest" else 0.9999)


@both_dimensions
def test_the_mask_of_the_image_travels_with_it(dim):
    picture = image(SHAPES[dim]).with_mask((noise(SHAPES[dim], seed=8) > 0).float())
    grid = oblique((9, 8, 7)[:dim], seed=3, spacing=0.7)
    expected = resample(Image(picture.mask, picture.grid), grid)
    assert torch.allclose(resample(picture, grid).mask, expected.data)
    assert torch.allclose(resample(picture, grid, interpolation="nearest").mask, expected.data)

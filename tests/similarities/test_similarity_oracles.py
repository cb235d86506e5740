"""Values of similarities beside those of SimpleITK, and in closed form."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.ndimage import gaussian_filter

from coincide.alignment import Alignment, pulled
from coincide.features.binned import binned
from coincide.features.distance import signed_distance
from coincide.objective import Similarity
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registry import build
from coincide.similarities.correlation_ratio import CorrelationRatio
from coincide.similarities.distance_map import DistanceMap
from coincide.similarities.edges import Edges
from coincide.similarities.field import Field
from coincide.similarities.huber import Huber
from coincide.similarities.landmarks import Landmarks
from coincide.similarities.lncc import LNCC
from coincide.similarities.local_mi import LocalMI
from coincide.similarities.local_nmi import LocalNMI
from coincide.similarities.mi import MI
from coincide.similarities.mse import MSE
from coincide.similarities.ncc import NCC
from coincide.similarities.ngf import NGF
from coincide.similarities.nmi import NMI
from coincide.similarities.overlap import Overlap
from coincide.similarities.ssim import SSIM
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Translation
from worlds import noise

SHAPES = [(19, 23), (40, 9), (12, 11, 13), (6, 15, 9)]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
seeds = pytest.mark.parametrize("seed", [0])


def pair(shape, seed):
    """Two related textured images in float64 on one grid of 1 mm."""
    grid = Grid(shape, np.eye(len(shape) + 1))
    fixed = noise(shape, seed=seed, sigma=1, dtype=torch.float64)
    other = noise(shape, seed=seed + 100, sigma=0.7, dtype=torch.float64)
    return Image(fixed, grid), Image(0.7 * fixed.square() + 0.3 * fixed + other, grid)


def cost(part: Similarity, fixed: Image, moving: Image) -> float:
    return float(part.compare(*part.prepared(fixed, moving)))


def simpleitk(fixed: Image, moving: Image, choose) -> float:
    """SimpleITK's value with all voxels and the identity."""
    method = sitk.ImageRegistrationMethod()
    choose(method)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(sitk.TranslationTransform(fixed.dim))
    images = (sitk.GetImageFromArray(i.numpy().transpose()) for i in (fixed, moving))
    return method.MetricEvaluate(*images)


@shapes
@seeds
def test_mse_is_the_mean_squares_of_simpleitk(shape, seed):
    expected = simpleitk(*pair(shape, seed), lambda m: m.SetMetricAsMeanSquares())
    assert cost(MSE(), *pair(shape, seed)) == pytest.approx(expected, rel=1e-12)


@shapes
@seeds
def test_ncc_squared_is_the_correlation_of_simpleitk(shape, seed):
    expected = simpleitk(*pair(shape, seed), lambda m: m.SetMetricAsCorrelation())
    r = 1 - cost(NCC(), *pair(shape, seed))
    assert -(r**2) == pytest.approx(expected, rel=1e-10)


@shapes
@seeds
@pytest.mark.parametrize("radius", [1, 2, 4])
def test_lncc_is_the_ants_neighbourhood_correlation_of_simpleitk(shape, seed, radius):
    expected = simpleitk(
        *pair(shape, seed), lambda m: m.SetMetricAsANTSNeighborhoodCorrelation(radius)
    )
    found = cost(LNCC(radius=radius, floor=1e-14), *pair(shape, seed)) - 1
    assert found == pytest.approx(expected, rel=1e-8)


@shapes
@seeds
@pytest.mark.parametrize("bins", [16, 32, 50])
def test_mi_is_that_of_mattes_in_simpleitk(shape, seed, bins):
    expected = simpleitk(*pair(shape, seed), lambda m: m.SetMetricAsMattesMutualInformation(bins))
    assert cost(MI(bins=bins), *pair(shape, seed)) == pytest.approx(expected, rel=1e-8)


def test_mi_of_correlated_normal_noise_is_known():
    random = np.random.default_rng(0)
    count, bins = 200, 32
    f, noise_ = (random.standard_normal((count, count)) for _ in range(2))
    grid = Grid((count, count), np.eye(3))
    for rho in (0.0, 0.5, 0.9):
        g = rho * f + np.sqrt(1 - rho**2) * noise_
        images = [Image(torch.tensor(x)[None, None], grid) for x in (f, g)]
        bias = (bins - 5) ** 2 / (2 * count**2)  # of a histogram of finitely many samples
        # windows widen the densities: a box by 1/12, a cubic B-spline by 1/3 of a squared bin
        wide_f, wide_g = (
            1 + share * (float(i.data.max() - i.data.min()) / (bins - 4)) ** 2
            for i, share in zip(images, (1 / 12, 1 / 3), strict=True)
        )
        expected = -0.5 * np.log(1 - rho**2 / (wide_f * wide_g))
        assert -cost(MI(bins=bins), *images) == pytest.approx(expected, abs=0.005 + bias)


def test_nmi_is_the_ratio_of_entropies():
    fixed, moving = pair((30, 31), 0)
    found = cost(NMI(bins=16), fixed, moving)
    from coincide.kernels.histogram import joint_histogram

    f, w = binned(fixed, 16), binned(moving, 16)
    table = joint_histogram(f.data, w.data, f.weight(), 16)[0].numpy()
    p = table / table.sum()

    def entropy(q):
        q = q[q > 0]
        return -(q * np.log(q)).sum()

    expected = 2 - (entropy(p.sum(0)) + entropy(p.sum(1))) / entropy(p)
    assert found == pytest.approx(expected, abs=1e-9)


def test_ngf_of_crossed_edges_is_known():
    grid = Grid((9, 9), np.eye(3))
    x, y = np.indices((9, 9)).astype(float)
    along, across, slanted = (Image(torch.tensor(i)[None, None], grid) for i in (x, y, x + y))
    part = NGF(eta=1e-6)
    # |n nᵀ - m mᵀ|² = 2 - 2 cos², shared by three entries
    assert cost(part, along, across) == pytest.approx(2 / 3, rel=1e-6)
    assert cost(part, along, slanted) == pytest.approx(1 / 3, rel=1e-6)
    assert cost(part, along, along) == pytest.approx(0, abs=1e-12)


def test_ngf_counts_edges_per_millimetre():
    grid = Grid((9, 9), np.diag([1.0, 3.0, 1.0]))
    index = np.indices((9, 9)).astype(float)
    world = Image(torch.tensor(index[0] + 3 * index[1])[None, None], grid)
    along = Image(torch.tensor(index[0])[None, None], grid)
    # in the world the first ramp rises at 45 degrees
    assert cost(NGF(eta=1e-6), along, world) == pytest.approx(1 / 3, rel=1e-6)


def test_overlap_is_one_minus_the_mean_dice():
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 4, (20, 21)) for _ in range(2))
    dice = [2 * ((a == n) & (b == n)).sum() / ((a == n).sum() + (b == n).sum()) for n in (1, 2, 3)]
    images = Image.from_array(a), Image.from_array(b)
    assert cost(Overlap(), *images) == pytest.approx(1 - np.mean(dice), rel=1e-6)
    assert cost(Overlap(labels=(2,)), *images) == pytest.approx(1 - dice[1], rel=1e-6)
    # a label that neither has is left out, not counted as failed
    assert cost(Overlap(labels=(2, 77)), *images) == pytest.approx(1 - dice[1], rel=1e-6)


def test_moving_content_out_of_view_does_not_pay():
    fixed, moving = pair((30, 30), 0)
    matrix = np.eye(3)
    costs = []
    for shift in (0.0, 15.0, 25.0):
        matrix[0, 2] = shift
        aligned = Alignment(fixed, moving, Translation(matrix.copy()).requires_grad_(False))
        # the cost of what overlaps, not of what does not
        overlap = moving.data[..., int(shift) :, :]
        expected = (fixed.data[..., : 30 - int(shift), :] - overlap).square().mean()
        costs.append(float(MSE()(aligned)))
        assert costs[-1] == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    "name", ["affine", "displacement", "velocity", "bspline", "bspline_velocity"]
)
def test_landmarks_pull_on_every_transform(name):
    fixed, _ = pair((16, 16, 16), 0)
    here = np.random.default_rng(0).uniform(5, 10, (9, 3))
    part = Landmarks().of(here, here + np.array([3.0, 0, 0]))
    transform = build(name).on(fixed.grid)
    value = part(Alignment(fixed, fixed, transform))
    assert float(value.detach()) == pytest.approx(np.sqrt(9.01) - 0.1)
    value.sum().backward()
    slopes = [p.grad for p in transform.parameters() if p.numel()]
    assert max(float(s.abs().max()) for s in slopes if s is not None) > 1e-4


def test_landmarks_come_in_pairs():
    for part in (Landmarks(), Field()):
        with pytest.raises(ValueError, match=r"\(3, 3\) fixed and \(2, 3\) moving"):
            part.of(np.zeros((3, 3)), np.zeros((2, 3)))


@pytest.mark.parametrize("part", [Landmarks(), Field()])
def test_each_pair_of_a_batch_has_points_of_its_own(part):
    """As many as it has, and perhaps none."""
    image, _ = pair((16, 16), 0)
    batch = Image(image.data.expand(3, -1, -1, -1), image.grid)
    shift = torch.zeros(3, 2, 16, 16)
    shift[:, 0] = torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    random = np.random.default_rng(0)
    here = random.uniform(4, 12, (3, 5, 2))
    there = here + random.normal(0, 1, here.shape)
    here[1, 2:], there[2] = np.nan, np.nan
    transform = Displacement(field=shift, grid=image.grid)
    found = part.of(here, there)(Alignment(batch, batch, transform))
    for b, count in enumerate((5, 2)):
        alone = Displacement(field=shift[b : b + 1], grid=image.grid)
        points = here[b, :count], there[b, :count]
        expected = part.of(*points)(Alignment(image, image, alone))
        assert float(found[b].detach()) == pytest.approx(float(expected.detach()))
    assert float(found[2].detach()) == 0
    found.sum().backward()
    slope = transform.field.grad
    assert slope is not None
    assert bool(slope.isfinite().all())
    assert float(slope[2].abs().max()) == 0


def test_a_field_costs_the_squared_distance():
    image, _ = pair((16, 16), 0)
    here = np.random.default_rng(0).uniform(4, 12, (7, 2))
    still = Displacement(grid=image.grid)
    cost_there = Field().of(here, here + np.array([3.0, 4.0]))(Alignment(image, image, still))
    assert float(cost_there.detach()) == pytest.approx(25)


@shapes
@seeds
def test_huber_is_quadratic_near_and_linear_far(shape, seed):
    fixed, moving = pair(shape, seed)
    away = abs((moving.data - fixed.data).numpy()) / fixed.data.numpy().std()
    for delta in (0.1, 0.5, 2.0):
        expected = np.where(away <= delta, away**2, delta * (2 * away - delta)).mean()
        assert cost(Huber(delta=delta), fixed, moving) == pytest.approx(expected, rel=1e-12)
    far = 1 + away.max()
    expected = cost(MSE(), fixed, moving) / fixed.data.numpy().var()
    assert cost(Huber(delta=float(far)), fixed, moving) == pytest.approx(expected, rel=1e-12)


def test_huber_cares_less_for_a_lesion_than_the_squared_difference():
    fixed, _ = pair((30, 31), 0)
    sick = fixed.data.clone()
    sick[..., 10:14, 10:14] += 10
    moving = fixed.with_data(sick)
    share = cost(Huber(), fixed, moving) * float(fixed.data.numpy().var())
    assert share < 0.1 * cost(MSE(), fixed, moving)


@shapes
@seeds
def test_the_correlation_ratio_is_the_variance_within_bins(shape, seed):
    fixed, moving = pair(shape, seed)
    bins = 16
    f, w = binned(fixed, bins).data.numpy().ravel(), moving.data.numpy().ravel()
    within = 0.0
    for b in range(bins):
        weight = np.clip(1 - abs(f - b), 0, None)
        if weight.sum() > 0:
            mean = np.average(w, weights=weight)
            within += (weight * (w - mean) ** 2).sum()
    found = cost(CorrelationRatio(bins=bins), fixed, moving)
    assert found == pytest.approx(within / (w.size * w.var()), rel=1e-10)


def test_the_correlation_ratio_knows_functions_from_chance():
    fixed, _ = pair((60, 61), 0)
    index = binned(fixed, 32).data.round()
    fixed = fixed.with_data(index)
    chosen = torch.rand(32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    function = fixed.with_data(chosen[index.long()])
    assert cost(CorrelationRatio(), fixed, function) == pytest.approx(0, abs=1e-6)
    # of independent images it misses one only by one degree of freedom a bin
    other = fixed.with_data(noise((60, 61), seed=7, sigma=0, dtype=torch.float64))
    assert cost(CorrelationRatio(), fixed, other) == pytest.approx(1 - 28 / 3660, abs=0.006)


@shapes
@seeds
def test_ssim_is_the_published_formula_under_the_filters_of_scipy(shape, seed):
    images = pair(shape, seed)
    x, y = ((i.data.numpy() - i.data.numpy().mean()) / i.data.numpy().std() for i in images)
    x, y = x[0, 0] / 6 + 0.5, y[0, 0] / 6 + 0.5

    def mean(values):
        return gaussian_filter(values, 1.5, mode="reflect", radius=5)

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    ratio = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert cost(SSIM(), *images) == pytest.approx(1 - ratio.mean(), rel=1e-9)


def test_edges_compare_the_strength_of_edges_alone():
    fixed, moving = pair((30, 31), 0)
    grid = fixed.grid
    strength = [np.hypot(*np.gradient(i.data.numpy()[0, 0])).ravel() for i in (fixed, moving)]
    # an end of the image knows only one neighbour, as in NumPy
    correlation = np.corrcoef(*strength)[0, 1]
    assert cost(Edges(), fixed, moving) == pytest.approx(2 - 2 * correlation, rel=1e-9)
    x, y = np.indices((30, 31)).astype(float)
    along = Image(torch.tensor(np.sin(x / 3) + 0 * y)[None, None], grid)
    steps = Image(torch.tensor(np.cumsum(abs(np.cos(x / 3)), 0))[None, None], grid)
    # rising and falling edges at the same places
    assert cost(Edges(), along, steps) < 0.15


@pytest.mark.parametrize(("local", "whole"), [(LocalMI, MI), (LocalNMI, NMI)])
def test_local_information_is_the_mean_of_that_under_the_weights_of_each_window(local, whole):
    fixed, moving = pair((13, 25), 0)
    radius, bins = 12, 9
    part = local(radius=radius, bins=bins)
    expected = total = 0.0
    for x in (0, 12):
        for y in (0, 12, 24):
            tents = [
                np.clip(1 - abs(np.arange(n) - c) / radius, 0, 1) for n, c in ((13, x), (25, y))
            ]
            weight = torch.tensor(np.outer(*tents))[None, None]
            f, w = (whole(bins=bins).prepare(i) for i in (fixed, moving))
            value = float(whole(bins=bins).compare(f, w.with_mask(weight)))
            expected, total = expected + value * float(weight.sum()), total + float(weight.sum())
    assert cost(part, fixed, moving) == pytest.approx(expected / total, rel=1e-9)


@pytest.mark.parametrize(("local", "whole"), [(LocalMI, MI), (LocalNMI, NMI)])
def test_local_information_sees_through_a_relation_that_changes_from_place_to_place(local, whole):
    fixed, _ = pair((40, 120), 0)
    # the contrast is reversed at one end, and independent at neither
    slope = torch.linspace(-1, 1, 120, dtype=torch.float64).sign()
    moving = fixed.with_data(fixed.data * slope)
    other = moving.with_data(noise((40, 120), seed=8, sigma=1, dtype=torch.float64) * slope)
    near = local(radius=20, bins=9)
    gain = cost(near, fixed, other) - cost(near, fixed, moving)
    part = whole(bins=9)
    assert gain > 1.5 * (cost(part, fixed, other) - cost(part, fixed, moving))


@pytest.mark.parametrize("shape", [(60, 50), (41, 36, 39)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("spacing", [1.0, 0.7])
def test_signed_distances_are_those_to_a_sphere_and_a_wall(shape, spacing):
    dim = len(shape)
    grid = Grid(shape, np.diag([*[spacing] * dim, 1.0]))
    middle = grid.to_world((np.array(shape) - 1) / 2)
    points = grid.points()[0].numpy().reshape(*shape, dim)
    from_centre = np.linalg.norm(points - middle, axis=-1)
    ball = Image(torch.tensor(from_centre < 9)[None, None].long() * 7, grid)
    found = signed_distance(ball, (7,), 6.0).data[0, 0].numpy()
    assert abs(found - np.clip(from_centre - 9, -6, 6)).max() < spacing
    assert abs(found - np.clip(from_centre - 9, -6, 6)).mean() < 0.2 * spacing
    assert found.min() == -6
    assert found.max() == 6
    wall = Image(torch.tensor(points[..., 0] < 8.0)[None, None].long(), grid)
    edge = (np.ceil(8.0 / spacing - 1e-9) - 0.5) * spacing
    found = signed_distance(wall, (1,), 5.0).data[0, 0].numpy()
    np.testing.assert_allclose(found, np.clip(points[..., 0] - edge, -5, 5), atol=1e-5)


def test_thick_slices_are_counted_in_millimetres_by_distances():
    grid = Grid((5, 5, 21), np.diag([1.0, 1.0, 3.0, 1.0]))
    data = torch.zeros(1, 1, 5, 5, 21, dtype=torch.int64)
    data[..., 10] = 1
    found = signed_distance(Image(data, grid), (1,), 20.0).data[0, 0, 2, 2].numpy()
    assert found[[12, 13, 9, 10]] == pytest.approx([5.5, 8.5, 2.5, -2.5])


def test_distance_maps_feel_how_far_apart_surfaces_are():
    grid = Grid((60, 40), np.eye(3))
    x = grid.points()[0, :, 0].reshape(1, 1, 60, 40)
    blocks = [Image(((x > 10 + s) & (x < 20 + s)).long() * 3, grid) for s in range(9)]
    dice = [cost(Overlap(), blocks[0], b) for b in blocks[:8:2]]
    far = [cost(DistanceMap(reach=30.0), blocks[0], b) for b in blocks]
    assert far == sorted(far)
    # everywhere but between them the distances differ by the shift
    assert far[2] == pytest.approx((2 / 30) ** 2, rel=0.2)
    assert dice == sorted(dice)
    assert cost(DistanceMap(), blocks[0], blocks[0]) == 0
    assert cost(DistanceMap(labels=(3,)), blocks[0], blocks[1]) > 0


@pytest.mark.parametrize("shape", [(26, 24), (15, 16, 14)], ids=["2-D", "3-D"])
def test_feature_images_of_many_channels_are_registered_by_plain_differences(shape):
    grid = Grid(shape, np.eye(len(shape) + 1))
    fixed = Image(noise(shape, channels=5, sigma=2), grid).standardised()
    matrix = np.eye(len(shape) + 1)
    matrix[0, -1] = -1.5
    back = Translation(matrix.copy()).requires_grad_(False)
    moving = pulled(fixed, back, grid).with_mask(None)
    for term in ("mse", MSE().of(fixed, moving)):
        # of a pair beside the images, these show nothing
        blank = fixed.with_data(torch.zeros_like(fixed.data[:, :1]))
        images = (fixed, moving) if isinstance(term, str) else (blank, blank)
        found = optimise(
            *images, "translation", objective=term, optimiser="lbfgs", levels=(Level(0, 15),)
        )
        assert float(found.transform.shift[0, 0].detach()) == pytest.approx(1.5, abs=0.15)

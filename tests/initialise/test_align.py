"""Linear registration from nothing: orientations, shifts and sizes that no header explains."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from coincide.files.read import read_image, read_labels
from coincide.foreground import foreground, otsu
from coincide.initialise.align import Align
from coincide.initialise.mask import with_mask
from coincide.initialise.rotations import angle, rotations
from coincide.initialise.starts import about, moments, starts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.phantoms import centred, textured
from coincide.way import Found, Pair

SIZE = 28
LIVER = 5


def phantom(dim: int) -> Image:
    """Irregular regions in a body whose half axes differ, so that no turn maps it to itself."""
    return textured((SIZE, SIZE - 5, SIZE - 9)[:dim], 5, 1.0, regions=8).image


def moved(image: Image, matrix: np.ndarray) -> Image:
    """The image seen where `matrix` (fixed to moving world) sends it, on a grid of its own."""
    size = float(np.linalg.norm(image.grid.extent))
    size *= abs(np.linalg.det(matrix[:-1, :-1])) ** (1 / image.dim)
    grid = centred((int(size),) * image.dim)
    affine = grid.affine.copy()
    affine[:-1, -1] += (matrix @ np.append(image.grid.centre, 1))[:-1]
    world = Grid(grid.shape, affine).points()[0].numpy()
    back = np.linalg.inv(matrix)
    index = image.grid.to_index(world @ back[:-1, :-1].T + back[:-1, -1])
    values = map_coordinates(image.numpy().astype(float), index.T, order=3, cval=0.0)
    return Image.from_array(values.reshape(grid.shape).astype(np.float32), affine)


def found(fixed: Image, moving: Image, kind: str) -> np.ndarray:
    return aligned(fixed, moving, 4.0, kind=kind).transform.numpy()


def aligned(fixed: Image, moving: Image, margin: float, **settings) -> Found:
    images = ((fixed, "fixed"), (moving, "moving"))
    return Align(**settings)(Pair(*(foreground(i, margin=margin, name=n) for i, n in images)))


def worst(matrix: np.ndarray, truth: np.ndarray, image: Image) -> float:
    """Largest error inside the body, mm."""
    where = np.argwhere(image.numpy() > 0.05)
    points = np.append(image.grid.to_world(where), np.ones((len(where), 1)), 1)
    return float(np.linalg.norm(points @ (matrix - truth).T, axis=1).max())


TURNS = {
    "small": [5, -8, 3],
    "a quarter": [0, 0, 90],
    "half about x": [180, 0, 0],
    "half about z": [0, 0, 180],
    "random 1": Rotation.random(random_state=1).as_rotvec(degrees=True),
    "random 2": Rotation.random(random_state=2).as_rotvec(degrees=True),
}


QUICK = ("half about z", "random 1")  # the others take their time


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(turn, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, turn in TURNS.items()
    ],
)
def test_any_orientation_and_a_large_shift_are_found(turn):
    image, truth = phantom(3), np.eye(4)
    truth[:-1, :-1] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
    truth[:-1, -1] = 70, -45, 20
    matrix = found(image, moved(image, truth), "rigid")
    assert worst(matrix, truth, image) < 1
    assert np.allclose(matrix[:-1, :-1] @ matrix[:-1, :-1].T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "turn"),
    [
        pytest.param(0.8, 150, id="smaller"),
        pytest.param(1.25, 60, id="larger", marks=pytest.mark.slow),
        pytest.param(1.0, 180, id="as large", marks=pytest.mark.slow),
    ],
)
def test_another_size_is_found(scale, turn):
    image, truth = phantom(3), np.eye(4)
    rotation = Rotation.from_rotvec(turn * np.array([0.6, 0, 0.8]), degrees=True)
    truth[:-1, :-1] = scale * rotation.as_matrix()
    truth[:-1, -1] = -65, 10, 5
    assert worst(found(image, moved(image, truth), "affine"), truth, image) < 1


@pytest.mark.parametrize("turn", [120, 180])
def test_orientations_in_the_plane_are_found(turn):
    image, truth = phantom(2), np.eye(3)
    a = np.radians(turn)
    truth[:-1, :-1] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    truth[:-1, -1] = 60, 20
    assert worst(found(image, moved(image, truth), "rigid"), truth, image) < 1


@pytest.mark.slow
def test_inverted_contrast_is_aligned_too():
    image, truth = phantom(3), np.eye(4)
    truth[:-1, :-1] = Rotation.from_rotvec([0, 40, 100], degrees=True).as_matrix()
    truth[:-1, -1] = 15, 60, -10
    moving = moved(image, truth)
    body = (moving.data > 0.05).float()
    moving = moving.with_data(body * (1.3 - moving.data))
    assert worst(found(image, moving, "rigid"), truth, image) < 1


def test_the_candidates_are_ranked_and_named():
    image = phantom(3)
    result = aligned(image, image, 4.0, kind="rigid", rotations=40)
    chosen, *others = result.candidates
    assert chosen.chosen
    assert chosen.refined
    assert not any(c.chosen for c in others)
    for refined in (True, False):
        costs = [c.cost for c in others if c.refined == refined]
        assert costs == sorted(costs)
    assert result.status == f"rigid: {chosen.name} was best"
    assert "header" in {c.name for c in result.candidates}
    assert result.margin > 0
    assert worst(result.transform.numpy(), np.eye(4), image) < 0.2


def test_a_constant_image_has_nothing_to_register():
    image = Image(torch.full((1, 1, 9, 9, 9), 4.0), centred((9, 9, 9)))
    with pytest.raises(ValueError, match=r"the moving image is constant \(4 everywhere\)"):
        foreground(image, margin=1, name="moving")


def test_an_empty_mask_is_refused():
    image = phantom(3).with_mask(torch.zeros(1, 1, *phantom(3).grid.shape))
    with pytest.raises(ValueError, match="the fixed mask is empty"):
        foreground(image, margin=1, name="fixed")


def test_an_image_constant_inside_its_mask_is_refused():
    data = torch.zeros(1, 1, 9, 9)
    data[..., :4] = 1
    mask = torch.zeros(1, 1, 9, 9)
    mask[..., 6:] = 1
    with pytest.raises(ValueError, match="constant"):
        foreground(Image(data, centred((9, 9)), mask), margin=1, name="fixed")


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (2000.0, -1024.0), (0.001, 5.0)])
def test_the_foreground_is_the_body_whatever_the_units(scale, offset):
    data = torch.zeros(1, 1, 40, 36, 30)
    data[..., 10:30, 8:20, 12:25] = 1 + 0.2 * torch.rand(
        20, 12, 13, generator=torch.Generator().manual_seed(0)
    )
    image = Image(scale * data + offset, centred((40, 36, 30)))
    result = foreground(image, margin=3.0, name="fixed")
    corner = image.grid.inverse @ [*result.image.grid.affine[:3, 3], 1]
    start = np.rint(corner[:3]).astype(int)
    stop = start + result.image.grid.shape
    assert np.abs(start - [7, 5, 9]).max() <= 1
    assert np.abs(stop - [33, 23, 28]).max() <= 1
    assert float(result.image.data.min()) >= 0
    assert float(result.image.data.max()) == 1
    assert result.image.grid == image.grid.crop(start.tolist(), stop.tolist())
    assert result.mask.shape == result.image.data.shape


def test_otsu_separates_two_humps():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0.2, 0.03, 5000), random.normal(0.8, 0.05, 3000)])
    assert 0.3 < otsu(values.clip(0, 1)) < 0.65


def test_a_mask_on_another_grid_is_resampled_by_world_position():
    image = phantom(3)
    mask = Image(torch.ones(1, 1, 10, 10, 10, dtype=torch.int32), centred((10, 10, 10), 2.0))
    result, notes = with_mask(image, mask, "the fixed mask")
    points = image.grid.points()[0].numpy().reshape(*image.grid.shape, 3)
    expected = (np.abs(points) <= 10).all(-1)
    assert np.array_equal(result.mask[0, 0].numpy() > 0, expected)
    assert len(notes) == 1
    assert "another grid" in notes[0]


def test_a_mask_leaves_out_what_the_image_leaves_out():
    image = phantom(2)
    left, front = (torch.zeros(1, 1, *image.grid.shape) for _ in range(2))
    left[:, :, :20] = 1
    front[..., 10:] = 1
    result, notes = with_mask(image.with_mask(left), Image(front, image.grid), "mask")
    assert torch.equal(result.mask, left * front)
    assert notes == ()


def test_a_mask_of_weights_stays_soft_and_any_other_counts_above_zero():
    image = phantom(2)
    soft = torch.linspace(0, 1, image.grid.voxels).view(1, 1, *image.grid.shape)
    assert torch.equal(with_mask(image, Image(soft, image.grid), "m")[0].mask, soft)
    bright = with_mask(image, Image(255 * soft, image.grid), "m")[0].mask
    assert torch.equal(bright, (soft > 0).float())


def test_an_excluded_part_is_left_out_of_a_mask():
    image = phantom(2)
    left = torch.zeros(1, 1, *image.grid.shape)
    left[:, :, :20] = 1
    # on another grid, of odd size so that no voxel of the image lies on an edge
    lesion = Image(torch.zeros(1, 1, 9, 9, dtype=torch.int32), centred((9, 9), 1.1))
    lesion.data[..., 2:7, 2:7] = 3
    masked, _ = with_mask(image.with_mask(left), lesion, "lesion", exclude=True)
    points = image.grid.points()[0].numpy().reshape(*image.grid.shape, 2)
    there = torch.tensor((np.abs(points) < 2.75).all(-1))[None, None]
    assert bool((there & (left > 0)).any())
    assert torch.equal(masked.mask, left * ~there)


def test_excluding_nothing_is_noted_and_excluding_everything_refused():
    image = phantom(2)
    blank = Image(torch.zeros(1, 1, 8, 8), centred((8, 8)))
    masked, notes = with_mask(image, blank, "lesion", exclude=True)
    assert bool((masked.mask == 1).all())
    assert notes == ("lesion is empty: nothing was excluded",)
    with pytest.raises(ValueError, match="all leaves nothing of its image"):
        with_mask(image, Image(torch.ones_like(image.data), image.grid), "all", exclude=True)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image(torch.zeros(1, 1, 8, 8, 8), centred((8, 8, 8))), "m is empty"),
        (Image(torch.ones(1, 1, 8, 8), centred((8, 8))), "m has 2 axes, its image 3"),
        (
            Image(
                torch.ones(1, 1, 8, 8, 8),
                Grid((8, 8, 8), np.diag([1.0, 1, 1, 1]) + 500 * np.eye(4, k=3)),
            ),
            "does not overlap its image in the world",
        ),
    ],
    ids=["empty", "another dimension", "elsewhere"],
)
def test_a_mask_that_says_nothing_is_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        with_mask(phantom(3), mask, "m")


@pytest.mark.parametrize("count", [50, 300])
def test_every_orientation_is_near_one_that_is_tried(count):
    tried = rotations(3, count)
    assert np.array_equal(tried[0], np.eye(3))
    for turn in tried:
        assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
    random = Rotation.random(300, random_state=0).as_matrix()
    nearest = [min(angle(r, t) for t in tried) for r in random]
    # balls of this radius about `count` orientations have twice the volume of all of them
    assert max(nearest) < 1.6 * np.degrees((6 * np.pi / count) ** (1 / 3)) * 1.1


def test_the_angle_between_rotations_is_that_of_scipy():
    a, b = (Rotation.random(random_state=s) for s in (1, 2))
    expected = np.degrees((a.inv() * b).magnitude())
    assert angle(a.as_matrix(), b.as_matrix()) == pytest.approx(expected)
    assert angle(*rotations(2, 8)[1:3]) == pytest.approx(45)


def test_moments_are_those_of_an_ellipsoid_in_the_world():
    turn = Rotation.from_rotvec([0.3, 0.8, -0.5]).as_matrix()
    affine = np.eye(4)
    affine[:-1, :-1] = turn * [1.0, 1.5, 0.8]
    affine[:-1, -1] = 100, -50, 20
    grid = Grid((45, 30, 40), affine)
    local = (grid.points()[0].numpy() - grid.centre) @ turn / [20, 14, 9]
    inside = torch.tensor((local**2).sum(1) <= 1).reshape(1, 1, *grid.shape)
    result = moments(Image(inside.float(), grid), inside)
    assert np.allclose(result.centre, grid.centre, atol=0.1)
    assert np.allclose(result.spread, np.array([20, 14, 9]) / np.sqrt(5), rtol=0.02)
    assert np.allclose(np.abs(result.axes.T @ turn), np.eye(3), atol=0.05)


def test_a_map_about_two_points_sends_one_to_the_other():
    turn = Rotation.from_rotvec([0.3, 0.8, -0.5]).as_matrix()
    matrix = about(turn, np.array([1.0, 2, 3]), np.array([9.0, 8, 7]))
    assert np.allclose(matrix @ [1, 2, 3, 1], [9, 8, 7, 1])
    assert np.allclose(matrix[:-1, :-1], turn)


def test_the_first_start_is_the_header():
    image = phantom(3)
    inside = (image.data > 0.1).float()
    tried = starts(image, image, *[moments(image, inside)] * 2, count=30, scale=False)
    header = [s for s in tried if s.name == "header"]
    assert len(header) == 1
    assert np.array_equal(header[0].matrix, np.eye(4))
    assert len({s.name for s in tried}) == len(tried)


def middle(labels: Image, label: int) -> np.ndarray:
    return labels.grid.to_world(np.argwhere(labels.numpy() == label)).mean(0)


@pytest.mark.parametrize("margin", [6.0, 10.0])
def test_a_slab_finds_its_place_in_an_abdomen(real_data, margin):
    """The livers of two people meet, however tightly the images are cropped."""
    folder = real_data / "abdomen_ct_mr"
    mr, ct = (read_image(folder / f"ts_{name}.nii.gz").float() for name in ("MR", "CT"))
    ct = ct.with_data(ct.data.clamp(-160, 240))
    matrix = aligned(mr, ct, margin).transform.numpy()
    here = middle(read_labels(folder / "ts_MR_labels50.nii.gz"), LIVER)
    there = middle(read_labels(folder / "ts_CT_labels117.nii.gz"), LIVER)
    assert np.linalg.norm(matrix[:-1] @ np.append(here, 1) - there) < 40

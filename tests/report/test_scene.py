import base64

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from coincide.registration import Registration
from coincide.report.deformation import coded
from coincide.report.likeness import Likeness
from coincide.report.scene import Scene
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.transforms.linear import Affine


def scene(affine, longest=None, **more):
    """A bright box in the dark, and a transform that differs along every axis."""
    values = np.zeros((60, 50, 40), np.float32)
    values[20:40, 15:40, 10:30] = np.random.default_rng(0).random((20, 25, 20)) + 1
    image = Image.from_array(values, affine)
    matrix = np.diag([1.05, 0.95, 1.1, 1.0])
    matrix[:3, 3] = 1, 2, 3
    there, back = Affine(matrix), Affine(np.linalg.inv(matrix))
    return Scene(Registration(image, image, there, back, **more), longest)


def test_the_lattice_is_the_voxels_of_the_content():
    drawn = scene(np.diag([1.0, 1.0, 1.0, 1.0]))
    lattice = drawn.lattice
    assert (np.array(lattice.shape) < [50, 45, 38]).all()
    assert np.allclose(lattice.spacing, 1, atol=1e-9)
    fixed = drawn.result.fixed
    assert resample(fixed, lattice).numpy().sum() == pytest.approx(fixed.numpy().sum(), rel=1e-4)
    assert max(scene(np.eye(4), 16).lattice.shape) == 16


def test_a_moving_image_far_away_does_not_make_everything_small():
    values = np.zeros((60, 50, 40), np.float32)
    values[5:25, 5:25, 5:25] = 1
    fixed = Image.from_array(values)
    moving = Image.from_array(np.flip(values, (0, 1, 2)).copy())
    shift = np.eye(4)
    shift[:3, 3] = 30, 20, 10
    back = Affine(np.linalg.inv(shift))
    assert max(Scene(Registration(fixed, moving, Affine(shift), back)).lattice.shape) < 35


def test_a_volume_of_256_voxels_an_axis_is_drawn_with_every_voxel():
    values = np.zeros((256, 8, 8), np.float32)
    values[:, 2:6, 2:6] = 1
    image = Image.from_array(values)
    still = Affine(np.eye(4))
    assert Scene(Registration(image, image, still, still)).lattice.shape[0] == 256


def test_the_field_is_what_the_transform_says():
    drawn = scene(np.array([[0, 0, 2.0, 5], [-1, 0, 0, 6], [0, 1.5, 0, 7], [0, 0, 0, 1]]))
    field = drawn.data()["field"]
    codes = np.frombuffer(base64.b64decode(field["codes"]), "<i2")
    nx, ny, nz = field["shape"]
    along = codes.reshape(3, nz, ny, nx).transpose(0, 3, 2, 1) * field["unit"]
    at = np.array([2, 3, 1])
    voxel = np.array(field["first"]) + at * np.array(field["step"])
    point = drawn.lattice.to_world(voxel)
    with torch.no_grad():
        moved = drawn.result.transform(torch.tensor(point)[None, None])[0, 0].numpy()
    # the screen axes run to the left, the back and the feet: against the world
    assert np.allclose(along[:, *at], -(moved - point), atol=0.01)


def test_a_field_already_computed_is_drawn_the_same():
    fresh, scored = scene(np.eye(4)), scene(np.eye(4))
    _ = scored.result.alignment.displacement
    assert torch.allclose(fresh.field, scored.field, atol=1e-4)


def test_folding_has_a_code_of_its_own():
    stretch, codes = coded(np.array([[-1.0, 0.0, np.nan], [1e-9, 1.0, 1.2]]))
    assert codes[0].tolist() == [0, 0, 0]
    assert codes[1].tolist()[:2] == [1, 128]
    assert stretch == 4


def test_beside_the_moving_image_is_the_darkest_and_not_zero():
    values = np.full((20, 20), -1000.0, np.float32)
    values[5:15, 5:15] = 50
    image = Image.from_array(values)
    shift = np.eye(3)
    shift[0, 2] = 8
    result = Registration(image, image, Affine(shift), Affine(np.linalg.inv(shift)))
    warped = Scene(result).pictures["warped"][0]
    assert warped[0].max() == 0  # the value 0 itself would be nearly white


def colour_pair(tmp_path):
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    path = tmp_path / "stain.png"
    Picture.fromarray(colours).save(path)
    affine = np.diag([-1.0, -1.0, 1.0])
    grey = Image.from_array(
        (colours @ np.array([0.2126, 0.7152, 0.0722])).T.astype(np.float32), affine
    )
    return colours, path, grey


def test_a_picture_read_as_its_luminance_is_drawn_in_its_colours(tmp_path):
    colours, path, grey = colour_pair(tmp_path)
    still = Affine(np.eye(3))
    result = Registration(
        grey, grey, still, still, settings={"fixed": str(path), "moving": str(path)}
    )
    drawn = Scene(result).pictures
    for name in ("fixed", "moving", "warped"):
        assert np.abs(drawn[name].astype(int) - colours.transpose(2, 1, 0)).max() <= 1, name


def test_the_colours_of_another_picture_are_not_taken(tmp_path):
    _, path, grey = colour_pair(tmp_path)
    other = grey.with_data(grey.data.flip(2))
    still = Affine(np.eye(3))
    result = Registration(other, other, still, still, settings={"fixed": str(path)})
    drawn = Scene(result).pictures
    assert len(drawn["fixed"]) == 1


def test_three_channels_are_red_green_and_blue():
    data = torch.rand(1, 3, 12, 9)
    image = Image.from_array(np.zeros((12, 9), np.float32), np.diag([-1.0, -1.0, 1.0]))
    image = image.with_data(data)
    still = Affine(np.eye(3))
    drawn = Scene(Registration(image, image, still, still)).pictures["fixed"]
    assert np.abs(drawn.astype(float) / 255 - data[0].numpy()).max() < 0.01


def test_landmarks_have_their_places_in_both_images_and_their_error():
    points = np.array([[30.0, 20.0, 20.0], [25.0, 25.0, 18.0]])
    partners = points + np.array([4.0, 0.0, 0.0])
    drawn = scene(np.eye(4), points=(points, partners))
    first = drawn.data()["landmarks"][0]
    assert first["before"] == pytest.approx(4)
    found = points[0] * [1.05, 0.95, 1.1] + [1, 2, 3]
    assert first["after"] == pytest.approx(np.linalg.norm(found - partners[0]), abs=1e-3)
    for name, place in (("fixed", points[0]), ("found", found), ("partner", partners[0])):
        assert np.allclose(drawn.lattice.to_world(np.array(first[name])), place, atol=1e-2), name
    true = (partners[0] - [1, 2, 3]) / [1.05, 0.95, 1.1]
    assert np.allclose(drawn.lattice.to_world(np.array(first["true"])), true, atol=1e-2)


def test_labels_that_are_numbered_differently_are_seen():
    map_ = np.zeros((60, 50, 40), np.int64)
    map_[22:38, 17:38, 12:28] = 300_000
    fixed = Image.from_array(map_)
    named = {"label_names": {300_000: "liver"}}
    labels = scene(np.eye(4), labels=(fixed, fixed), **named).data()["labels"]
    assert labels["numbers"] == [0, 300_000]
    assert labels["names"][1] == "liver"
    assert labels["before"] == {300_000: 1.0}
    assert labels["elsewhere"] == {}
    moving = Image.from_array(np.where(map_ > 0, 7, 0))
    labels = scene(np.eye(4), labels=(fixed, moving)).data()["labels"]
    assert labels["elsewhere"] == {300_000: 7}


def test_likeness_rises_where_the_transform_is_right():
    values = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    moving = Image.from_array(values)
    shift = np.eye(4)
    shift[0, 3] = 3.0
    fixed = Image.from_array(values, shift)
    right = Affine(np.linalg.inv(shift))
    found = Scene(Registration(fixed, moving, right, Affine(shift))).likeness
    assert found["after"].ncc == pytest.approx(1, abs=1e-3)
    assert found["before"].ncc < 0.1
    assert found["after"].nmi > found["before"].nmi + 0.3


def test_likeness_knows_no_contrast_but_relation():
    values = np.random.default_rng(0).random(50_000)
    assert Likeness.of(values, 1 - values).nmi == pytest.approx(2, abs=1e-6)
    assert Likeness.of(values, 1 - values).ncc == pytest.approx(-1)
    assert Likeness.of(values, np.random.default_rng(1).random(50_000)).nmi < 1.02
    assert Likeness.of(values, np.zeros(50_000)).ncc is None
    assert Likeness.of(values, values, np.zeros(50_000, bool)).nmi is None

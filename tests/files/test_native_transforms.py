"""Transforms come back from our files as what they were, to the bit."""

import h5py
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from torch import nn

import coincide
from coincide.files.itk import read_transform, write_transform
from coincide.registration import Registration
from coincide.registry import parts
from coincide.space.image import Image
from coincide.transforms.bspline import BSpline
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform
from coordinate_network import NAME, CoordinateNetwork, registered, shaken
from random_transforms import NAMES, NETWORKS, interior, randomised
from worlds import noise, oblique

SHAPES = {2: (13, 12), 3: (9, 11, 10)}
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


@pytest.fixture
def network():
    """The coordinate network as a part that is known by name."""
    with registered():
        yield


def same(found, expected):
    """Whether two transforms are equal to the bit."""
    assert type(found) is type(expected)
    mine, theirs = found.state_dict(), expected.state_dict()
    assert list(mine) == list(theirs)
    for key, values in theirs.items():
        assert mine[key].dtype == values.dtype
        assert torch.equal(mine[key], values), key
    for grid in ("grid", "field_grid"):
        one, other = getattr(found, grid, None), getattr(expected, grid, None)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.shape == other.shape
            assert np.array_equal(one.affine, other.affine)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("name", NAMES)
@both_dimensions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_transform_comes_back_to_the_bit_alone_and_in_a_chain(name, dim, dtype, tmp_path):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid).requires_grad_(False)
    points = interior(grid, 30, margin=2)
    if not isinstance(transform, Linear):
        for parameter in transform.parameters():
            parameter.data = parameter.data.to(dtype)
    write_transform(transform, tmp_path / "t.h5", grid=grid)
    again = read_transform(tmp_path / "t.h5")
    same(again, transform)
    assert torch.equal(again(points), transform(points))
    chain = randomised("affine", grid, seed=3) @ transform @ randomised("bspline", grid, seed=4)
    write_transform(chain, tmp_path / "c.h5", grid=grid)
    again = read_transform(tmp_path / "c.h5")
    assert isinstance(again, Composite)
    for found, expected in zip(again, chain, strict=True):
        same(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_field_of_half_precision_comes_back_to_the_bit(dtype, tmp_path):
    grid = oblique(SHAPES[3])
    transform = randomised("displacement", grid).to(dtype)
    write_transform(transform, tmp_path / "t.h5")
    same(read_transform(tmp_path / "t.h5"), transform)


@pytest.mark.usefixtures("network")
def test_a_network_is_a_displacement_for_itk_and_keeps_its_arguments(tmp_path):
    grid = oblique(SHAPES[3])
    transform = CoordinateNetwork(7, (2.0, 0.1), label='"sine", 5°', grid=grid)
    shaken(transform)
    write_transform(transform, tmp_path / "t.h5", grid=grid)
    again = read_transform(tmp_path / "t.h5")
    assert (again.width, again.omegas, again.label) == (7, (2.0, 0.1), '"sine", 5°')
    theirs = sitk.ReadTransform(str(tmp_path / "t.h5"))
    assert theirs.GetName() == "DisplacementFieldTransform"
    points = grid.points()[:, ::50]
    sign = np.array([-1, -1, 1])
    moved = [theirs.TransformPoint((p * sign).tolist()) for p in points[0].numpy()]
    np.testing.assert_allclose(
        np.array(moved) * sign, transform(points)[0].detach().numpy(), atol=1e-4
    )


@pytest.mark.usefixtures("network")
def test_a_network_goes_into_the_folder_of_a_result_and_comes_back(tmp_path):
    grid = oblique(SHAPES[3])
    image = Image(noise(SHAPES[3], sigma=1), grid)
    transform = shaken(CoordinateNetwork(grid=grid)).requires_grad_(False)
    chain = randomised("rigid", grid) @ transform
    result = Registration(image, image, chain, chain.inverse(), settings={"preset": "own"})
    folder = coincide.save(result, tmp_path / "run", report=False)
    again = read_transform(folder / "transform.h5")
    for found, expected in zip(again, chain, strict=True):
        same(found, expected)


def test_a_network_that_nobody_registers_any_more_is_read_as_a_displacement_and_says_so(tmp_path):
    grid = oblique(SHAPES[2])
    with registered():
        transform = shaken(CoordinateNetwork(grid=grid)).requires_grad_(False)
        write_transform(transform, tmp_path / "t.h5", grid=grid)
    with pytest.warns(UserWarning, match=f"a transform '{NAME}' that no part is registered as"):
        again = read_transform(tmp_path / "t.h5")
    assert isinstance(again, Displacement)
    points = grid.points()
    torch.testing.assert_close(again(points), transform(points), rtol=0, atol=1e-4)


class Tied(CoordinateNetwork):
    """Two layers with one weight."""

    def __init__(self, *, grid=None):
        super().__init__(6, (1.0, 1.0), grid=grid)
        self.second = nn.Linear(6, 6)
        self.third = nn.Linear(6, 6)
        self.third.weight = self.second.weight


def test_tied_weights_come_back_tied(tmp_path):
    grid = oblique(SHAPES[2])
    with registered(Tied, "tied"):
        transform = Tied(grid=grid)
        write_transform(transform, tmp_path / "t.h5", grid=grid)
        again = read_transform(tmp_path / "t.h5")
    same(again, transform)
    assert again.second.weight is again.third.weight


class Forgetful(CoordinateNetwork):
    """Does not keep its argument."""

    def __init__(self, depth=2, *, grid=None):
        super().__init__(depth * 2, grid=grid)


class Given(CoordinateNetwork):
    """Is handed its network."""

    def __init__(self, inside=None, *, grid=None):
        super().__init__(grid=grid)
        self.inside = inside


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Forgetful, {}, "a Forgetful cannot be saved: it keeps no attribute 'depth'"),
        (Given, {"inside": nn.Linear(2, 2)}, "a Given .* its inside is a Linear, and only finite"),
        (Given, {"inside": float("nan")}, "its inside is a float, and only finite numbers"),
        (Given, {"inside": (1, np.arange(3))}, "its inside is a tuple, and only"),
    ],
)
def test_what_cannot_be_described_is_refused_at_writing(kind, arguments, message, tmp_path):
    grid = oblique(SHAPES[2])
    with registered(kind, "odd"), pytest.raises(ValueError, match=message):
        write_transform(kind(grid=grid, **arguments), tmp_path / "t.h5", grid=grid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "value",
    [3, -0.1, 1e300, True, "a 'b' \"c\"\n", (1, 2.5, "x", (True, None)), [1, (2,)], {"a": 1.0}],
)
def test_plain_arguments_keep_value_and_kind(value, tmp_path):
    grid = oblique(SHAPES[2])
    with registered(Given, "given"):
        write_transform(Given(value, grid=grid), tmp_path / "t.h5", grid=grid)
        again = read_transform(tmp_path / "t.h5")
    assert again.inside == value
    assert repr(again.inside) == repr(value)


def test_arrays_are_kept_to_the_bit_and_none_where_it_is_not_the_default(tmp_path):
    grid = oblique(SHAPES[2])
    values = np.random.default_rng(0).standard_normal((3, 2))

    class Demanding(CoordinateNetwork):
        def __init__(self, inside, other, *, grid):
            super().__init__(grid=grid)
            self.inside, self.other = inside, other

    with registered(Demanding, "demanding"):
        write_transform(Demanding(values, None, grid=grid), tmp_path / "t.h5", grid=grid)
        again = read_transform(tmp_path / "t.h5")
    assert again.inside.dtype == values.dtype
    assert np.array_equal(again.inside, values)
    assert again.other is None


class Changed(CoordinateNetwork):
    """Today's class has a layer more."""

    def __init__(self, width=12, omegas=(1.5, 1.0), *, label="", grid=None):
        super().__init__(width, omegas, label=label, grid=grid)
        self.more = nn.Linear(2, 2)


class Renamed(CoordinateNetwork):
    """Today's class has other arguments."""

    def __init__(self, breadth=12, *, grid=None):
        super().__init__(breadth, grid=grid)


def test_a_class_that_has_changed_since_is_not_filled_with_what_does_not_fit(tmp_path):
    grid = oblique(SHAPES[2])
    with registered():
        write_transform(CoordinateNetwork(grid=grid), tmp_path / "t.h5", grid=grid)
    with registered(Changed), pytest.raises(ValueError, match=r"which has .*'more.bias'"):
        read_transform(tmp_path / "t.h5")
    with registered(Renamed), pytest.warns(UserWarning, match="'coordinate_network' of another"):
        assert isinstance(read_transform(tmp_path / "t.h5"), Displacement)


def first_layout(transform, group):
    """What version 0.1 wrote about a transform into its group."""
    group.attrs["name"] = transform.name
    if isinstance(transform, Linear):
        group.attrs["radius"] = transform.radius
        group["matrix"], group["centre"] = transform.numpy(), transform.centre.numpy()
        return
    for argument in ("spacing", "smoothing"):
        if hasattr(transform, argument):
            group.attrs[argument] = getattr(transform, argument)
    for argument in ("grid", "field_grid"):
        # a spline of landmarks has its field_grid as no argument
        if getattr(transform, argument, None) is not None and not (
            argument == "field_grid" and transform.name == "thin_plate"
        ):
            place, grid = group.create_group(argument), getattr(transform, argument)
            place["shape"], place["affine"] = np.array(grid.shape), grid.affine
    if transform.name == "thin_plate":
        group["landmarks"] = transform.landmarks
    if transform.name != "displacement":
        for key, values in transform.named_parameters():
            group[key.rsplit(".", 1)[-1]] = values.numpy()


# which held no networks
@pytest.mark.parametrize("name", [name for name in parts(Transform) if name not in NETWORKS])
@both_dimensions
def test_a_file_of_the_first_version_is_still_read(name, dim, tmp_path):
    grid = oblique(SHAPES[dim])
    transform = randomised(name, grid)
    write_transform(transform, tmp_path / "t.h5", grid=grid)
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        ours = file["Coincide"]
        ours.attrs["version"] = 1
        first = min(ours, key=int)
        del ours[first]
        first_layout(transform, ours.create_group(first))
    again = read_transform(tmp_path / "t.h5")
    assert type(again) is type(transform)
    points = interior(grid, 30, margin=2)
    torch.testing.assert_close(again(points), transform(points), rtol=0, atol=1e-9)


def test_a_spline_of_landmarks_without_a_grid_comes_back_as_itself(tmp_path):
    grid = oblique(SHAPES[3])
    spline = randomised("thin_plate", grid)
    spline.grid = None
    write_transform(spline, tmp_path / "t.h5", grid=grid)
    same(read_transform(tmp_path / "t.h5"), spline)


def test_what_keeps_a_graph_is_written_like_anything_else(tmp_path):
    grid = oblique(SHAPES[2])
    empty = BSpline(8.0).on(grid)
    drive = torch.ones((), requires_grad=True)
    values = drive * noise(empty.grid.shape, channels=2)
    transform = BSpline(8.0, coefficients=values, grid=empty.grid)
    write_transform(transform, tmp_path / "t.h5", grid=grid)
    again = read_transform(tmp_path / "t.h5")
    assert torch.equal(again.coefficients, values)
    assert again.coefficients.is_leaf

"""Images of MONAI, TorchIO and ANTs: the real ones where they are installed, and look-alikes."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

import coincide as co
from coincide.files.accept import as_image
from coincide.space.grid import Grid
from coincide.transforms.linear import Translation

AFFINE = np.array([[0, 0, -2.0, 5], [1.5, 0, 0, 6], [0, -0.7, 0, 7], [0, 0, 0, 1]])
LPS = np.diag([-1, -1, 1, 1])
ARRAY = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
GRID = Grid((4, 5, 6), AFFINE)
ON = Grid((3, 4, 5), AFFINE)


class MetaTensor(torch.Tensor):
    """As MONAI's: a tensor with an affine and a dictionary."""

    __module__ = "monai.data.meta_tensor"
    affine: torch.Tensor
    meta: dict

    @staticmethod
    def __new__(cls, x, affine=None, meta=None):
        made = torch.as_tensor(x).as_subclass(cls)
        made.affine = affine
        made.meta = dict(meta or {})
        return made


class TorchIOImage:
    """As TorchIO's: four axes, the first of channels, and an affine."""

    def __init__(self, tensor, affine):
        self.data, self.affine = tensor, affine

    def is_2d(self):
        return self.data.shape[-1] == 1


TorchIOImage.__name__, TorchIOImage.__module__ = "Image", "torchio.data.image"


class LabelMap(TorchIOImage):
    pass


class ANTsImage:
    """As ANTs': spacing, direction and origin of the LPS world."""

    __module__ = "lookalike_ants"
    components, dimension, dtype = 1, 3, "float32"

    def __init__(self, array, spacing, direction, origin):
        self.array, self.spacing, self.direction, self.origin = array, spacing, direction, origin
        self.dimension = len(spacing)

    def numpy(self):
        return self.array


def fakes():
    world = LPS @ AFFINE
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    whole = torch.from_numpy(ARRAY)
    return {
        "monai": MetaTensor(whole[None], torch.tensor(AFFINE), {"space": "RAS"}),
        "monai without channels": MetaTensor(whole, torch.tensor(AFFINE), {"space": "RAS"}),
        "monai in LPS": MetaTensor(whole[None], torch.tensor(world), {"space": "LPS"}),
        "torchio": TorchIOImage(whole[None], AFFINE),
        "torchio labels": LabelMap(whole[None], AFFINE),
        "ants": ANTsImage(ARRAY, tuple(spacing), world[:3, :3] / spacing, tuple(world[:3, 3])),
    }


@pytest.fixture
def lookalike(monkeypatch):
    """A package that the look-alike of ANTs comes from."""
    package = ModuleType("ants")

    def from_numpy(array, origin, spacing, direction, has_components):
        assert not has_components
        return ANTsImage(array, spacing, direction, origin)

    package.from_numpy = from_numpy
    if "ants" not in sys.modules:
        monkeypatch.setitem(sys.modules, "ants", package)
        monkeypatch.setattr(ANTsImage, "__module__", "ants.core.ants_image")


@pytest.mark.parametrize("kind", list(fakes()))
@pytest.mark.usefixtures("lookalike")
def test_look_alikes_are_taken_with_their_affine(kind):
    if kind == "ants" and ANTsImage.__module__ == "lookalike_ants":
        pytest.skip("the real package is installed, and tested below")
    value = fakes()[kind]
    found = as_image(value)
    np.testing.assert_allclose(found.image.grid.affine, AFFINE, atol=1e-6)
    np.testing.assert_array_equal(found.image.numpy(), ARRAY)
    assert found.warnings == ()
    shift = np.eye(4)
    shift[:3, 3] = AFFINE[:3, 0]  # one voxel along the first axis
    moved = co.warp(value, Translation(shift), on=ON)
    assert type(moved) is type(value)
    again = as_image(moved)
    assert again.image.grid == ON
    np.testing.assert_allclose(again.image.numpy(), ARRAY[1:, :4, :5], atol=1e-5)


def test_a_bare_tensor_or_array_warns():
    for value in (ARRAY, torch.from_numpy(ARRAY)):
        with pytest.warns(UserWarning, match="voxels of 1 mm at the origin"):
            as_image(value)
        with pytest.warns(UserWarning, match="voxels of 1 mm at the origin"):
            assert type(co.warp(value, on=Grid((4, 5, 6), np.eye(4)))) is type(value)
    with pytest.raises(ValueError, match="carries its own geometry"):
        as_image(fakes()["monai"], affine=AFFINE)


def test_a_batch_of_metatensors_is_refused():
    batch = MetaTensor(torch.zeros(2, 1, 4, 5, 6), torch.tensor(AFFINE), {})
    with pytest.raises(ValueError, match="is a batch of images of 3 axes"):
        as_image(batch)


def test_channels_of_a_metatensor_stay_channels():
    value = MetaTensor(torch.rand(3, 4, 5, 6), torch.tensor(AFFINE), {"spatial_shape": [4, 5, 6]})
    with pytest.raises(ValueError, match="choose one of 0 to 2 with frame=N"):
        as_image(value)
    np.testing.assert_array_equal(as_image(value, frame=1).image.numpy(), np.asarray(value[1]))
    found = co.warp(value, on=GRID)
    torch.testing.assert_close(found.as_subclass(torch.Tensor), value.as_subclass(torch.Tensor))


def test_one_slice_of_two_axes():
    affine = np.diag([-0.5, 0.5, 1, 1])
    flat = MetaTensor(torch.rand(1, 7, 6), torch.tensor(affine), {"spatial_shape": [7, 6]})
    other = TorchIOImage(torch.rand(1, 7, 6, 1), affine)
    for value in (flat, other):
        grid = as_image(value).image.grid
        assert grid == Grid((7, 6), np.diag([-0.5, 0.5, 1]))
        assert as_image(co.warp(value, on=grid)).image.grid == grid
    turned = SimpleNamespace(affine=AFFINE)
    with pytest.raises(TypeError, match="cannot take a SimpleNamespace"):
        as_image(turned)


def shifted():
    shift = np.eye(4)
    shift[:3, 3] = AFFINE[:3, 0]
    return Translation(shift)


def test_real_monai():
    data = pytest.importorskip("monai.data")
    value = data.MetaTensor(torch.from_numpy(ARRAY)[None], affine=torch.tensor(AFFINE))
    np.testing.assert_allclose(as_image(value).image.grid.affine, AFFINE)
    found = co.warp(value, shifted(), on=ON)
    assert type(found) is data.MetaTensor
    np.testing.assert_allclose(found.affine, ON.affine)
    np.testing.assert_allclose(found[0], ARRAY[1:, :4, :5], atol=1e-5)


def test_real_torchio():
    torchio = pytest.importorskip("torchio")
    for kind in (torchio.ScalarImage, torchio.LabelMap):
        value = kind(tensor=torch.from_numpy(ARRAY)[None], affine=AFFINE)
        np.testing.assert_allclose(as_image(value).image.grid.affine, AFFINE)
        found = co.warp(value, shifted(), on=ON)
        assert type(found) is kind
        np.testing.assert_allclose(found.affine, ON.affine)
        np.testing.assert_allclose(found.data[0], ARRAY[1:, :4, :5], atol=1e-5)


def test_real_ants():
    ants = pytest.importorskip("ants")
    fake = fakes()["ants"]
    geometry = {"origin": fake.origin, "spacing": fake.spacing, "direction": fake.direction}
    value = ants.from_numpy(ARRAY, **geometry)
    np.testing.assert_allclose(as_image(value).image.grid.affine, AFFINE, atol=1e-6)
    found = co.warp(value, shifted(), on=ON)
    assert type(found) is type(value)
    np.testing.assert_allclose(as_image(found).image.grid.affine, ON.affine, atol=1e-6)
    np.testing.assert_allclose(found.numpy(), ARRAY[1:, :4, :5], atol=1e-5)
    frames = ants.from_numpy(np.stack([ARRAY, 2 * ARRAY], -1))
    assert co.warp(frames, on=Grid((4, 5, 6), LPS)).numpy() == pytest.approx(frames.numpy())
    colour = ants.from_numpy(np.stack([ARRAY] * 3, -1), has_components=True)
    assert co.warp(colour, on=Grid((4, 5, 6), LPS)).components == 3

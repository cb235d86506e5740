import pytest
import torch

from coincide.features.structural import structural_features
from coincide.networks.model_file import model_bytes, read_model, weights_hash
from coincide.networks.structural import Structural
from coincide.optimisers.finest import Finest
from coincide.registry import build
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.synthetic.phantoms import textured
from coincide.synthetic.scanner import curved


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Structural(widths=(4, 6, 8), features=3, hidden=8, out=8).requires_grad_(False)


def test_places_have_the_descriptors_of_the_volume(network):
    """What training computes at some places is what registration computes everywhere."""
    image = torch.rand(2, 1, 12, 9, 14)
    points = torch.tensor([[[3.0, 4, 5], [0, 0, 0], [11, 8, 13]]] * 2)
    found = network.at(network.backbone(image), points)
    whole = network(image)
    for number, (x, y, z) in enumerate(points[0].int().tolist()):
        torch.testing.assert_close(found[:, number], whole[:, :, x, y, z])


def test_a_shifted_crop_has_shifted_descriptors(network):
    image = torch.rand(1, 1, 80, 76, 72)
    whole, crop = network(image), network(image[..., 8:, 4:, 4:])
    middle = crop[..., 34:38, 34:36, 33:35]
    torch.testing.assert_close(middle, whole[..., 42:46, 38:40, 37:39], atol=1e-5, rtol=1e-4)


def test_descriptors_do_not_know_brightness_and_contrast():
    image = textured((24, 22, 20), seed=1).image
    one = structural_features(image)
    other = structural_features(image.with_data(7 - 3 * (2 - image.data)))
    torch.testing.assert_close(one.data, other.data, atol=2e-4, rtol=0)


def test_a_place_is_liker_itself_in_another_contrast_than_another_place():
    image = textured((40, 36, 32), seed=2, regions=30).image
    unit = image.data[0, 0] / image.data.max()
    random = torch.Generator().manual_seed(1)
    one = structural_features(image).data[0].flatten(1)
    for _ in range(3):
        contrast = curved(unit, random)
        other = structural_features(image.with_data(contrast[None, None])).data[0].flatten(1)
        same = (one * other).sum(0)
        elsewhere = (one * other[:, torch.randperm(other.shape[1], generator=random)]).sum(0)
        assert float((same > elsewhere).float().mean()) > 0.8


def test_a_picture_and_odd_voxels_are_taken():
    flat = textured((30, 27), seed=3).image
    assert structural_features(flat).data.shape == (1, 16, 30, 27)
    thick = textured((18, 17, 5), seed=3, spacing=(1.0, 1.0, 4.0)).image
    found = structural_features(thick).data
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 18, 17, 5))


def test_a_constant_image_has_no_structure_and_no_nan():
    image = Image(torch.full((1, 1, 9, 8, 7), 3.0), textured((9, 8, 7)).image.grid)
    found = structural_features(image).data
    assert found.isfinite().all()
    torch.testing.assert_close(found, found[..., :1, :1, :1].expand_as(found))


def test_what_a_mask_leaves_out_does_not_matter():
    image = textured((20, 20, 20), seed=4).image
    mask = torch.ones_like(image.data)
    mask[..., 14:, :, :] = 0
    spoiled = image.data.clone()
    spoiled[..., 14:, :, :] = torch.nan
    one = structural_features(image.with_mask(mask)).data
    other = structural_features(image.with_data(spoiled).with_mask(mask)).data
    torch.testing.assert_close(one, other)


def test_weights_survive_a_file_and_a_damaged_one_is_refused(network, tmp_path):
    path = tmp_path / "a.safetensors"
    arguments = {"widths": (4, 6, 8), "features": 3, "hidden": 8, "out": 8}
    card = {"network": "structural", "arguments": arguments, "sigma": 0.8}
    path.write_bytes(model_bytes(network, card, half=False))
    state, read = read_model(path)
    assert read["sha256"] == weights_hash(state)
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    image = textured((12, 12, 12)).image
    own = build(f"structural(weights={str(path)!r})").prepare(image)
    assert own.data.shape[1] == 8
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="is damaged"):
        read_model(path)
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match="no safetensors file"):
        read_model(path)
    with pytest.raises(FileNotFoundError, match="there is no model"):
        build("structural(weights='nowhere.safetensors')").prepare(image)


def test_a_gradient_goes_through_the_descriptors():
    image = textured((8, 7, 6)).image
    data = image.data.double().requires_grad_()
    found = structural_features(image.with_data(data)).data
    (slope,) = torch.autograd.grad(found[:, 0].sum(), data)
    assert float(slope.abs().max()) > 0


def test_the_pyramid_describes_the_finest_level_alone():
    image = textured((32, 30, 28), seed=5).image
    term = build("mind_ssc")
    finest = Finest(image, image, 1.0)
    coarse = image.grid.shrink((2, 2, 2))
    one, other = finest.on(term, coarse, coarse)
    assert one.grid == coarse
    assert len(finest.made) == 1
    finest.on(term, image.grid, image.grid)
    assert len(finest.made) == 1
    for found in (one, other):
        torch.testing.assert_close(found.data, at(term.prepare(image), coarse).data)
    apart = (one.data - term.prepare(at(image, coarse)).data).abs().mean()
    assert float(apart) > 0.01  # another thing than describing the coarse image

import pytest
import torch

from coincide.networks.model_file import model_bytes
from coincide.networks.two_channel import SIDE, TwoChannel, metric_network


@pytest.fixture(params=[2, 3], ids=["2-D", "3-D"])
def network(request):
    torch.manual_seed(request.param)
    return TwoChannel(request.param, widths=(4, 4, 6, 6, 6)).double().requires_grad_(False)


def volume(dim: int, side: int = 29) -> torch.Tensor:
    random = torch.Generator().manual_seed(7)
    return torch.randn(1, 2, *(side, 26, 23)[:dim], generator=random, dtype=torch.float64)


def test_a_patch_gives_one_number_and_an_image_that_of_every_patch(network):
    image = volume(network.dim)
    whole = network(image, stride=1)
    assert whole.shape == (1, 1, *(n - SIDE + 1 for n in image.shape[2:]))
    box = (..., *(slice(start, start + SIDE) for start in (5, 2, 3)[: network.dim]))
    patch = network(image[box])
    assert patch.shape == (1, 1, *(1,) * network.dim)
    torch.testing.assert_close(patch.flatten()[0], whole[0, 0][(5, 2, 3)[: network.dim]])


@pytest.mark.parametrize("stride", [2, 4])
def test_a_wider_lattice_has_the_numbers_of_the_dense_one(network, stride):
    image = volume(network.dim)
    every = (..., *(slice(None, None, stride),) * network.dim)
    torch.testing.assert_close(network(image, stride), network(image, stride=1)[every])


def test_nothing_beyond_17_voxels_is_seen(network):
    image = volume(network.dim).requires_grad_()
    middle = tuple(n // 2 for n in network(image, stride=1).shape[2:])
    (slope,) = torch.autograd.grad(network(image, stride=1)[0, 0][middle], image)
    seen = (slope != 0).nonzero()[:, 2:]
    extent = seen.amax(0) - seen.amin(0) + 1
    assert extent.tolist() == [SIDE] * network.dim


def test_a_picture_is_a_slice_that_goes_on_unchanged():
    torch.manual_seed(1)
    network = TwoChannel(3, widths=(4, 4, 6, 6, 6)).double()
    flat = volume(2)
    thick = flat[..., None].expand(*flat.shape, SIDE)
    torch.testing.assert_close(network(flat, 2), network(thick, 2)[..., 0])


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="1, 2 or 4 voxels apart, not 3"):
        TwoChannel(2)(volume(2).float(), stride=3)
    with pytest.raises(ValueError, match="network of pictures is shown an image of 3 axes"):
        TwoChannel(2)(volume(3).float())


def test_the_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(model_bytes(TwoChannel(2), {"network": "structural", "arguments": {}}))
    with pytest.raises(ValueError, match="give a two_channel one"):
        metric_network(str(path), torch.device("cpu"), torch.float32)


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "a.safetensors"
    card = {"network": "two_channel", "arguments": {"dim": 2}}
    means = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path.write_bytes(model_bytes(TwoChannel(2), card))
        path.touch()
        network = metric_network(str(path), torch.device("cpu"), torch.float32)
        means.append(float(network.layers[0].weight.mean()))
    assert means[0] != means[1]

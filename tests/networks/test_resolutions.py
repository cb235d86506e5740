import pytest
import torch

from coincide.networks.encoder_decoder import EncoderDecoder
from coincide.networks.lattice import coarser, finer


@pytest.mark.parametrize("shape", [(9, 6, 1), (5, 4, 7), (1, 1, 3), (2, 2, 2)])
def test_a_coarse_voxel_lies_on_every_second_fine_one(shape):
    """A linear ramp stays the same ramp, except where the border is continued."""
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij")
    ramp = sum((a + 1) * axis for a, axis in enumerate(axes))[None, None]
    coarse = coarser(ramp)
    assert coarse.shape[2:] == tuple((n + 1) // 2 for n in shape)
    back = finer(coarse, shape)
    assert back.shape == ramp.shape
    inner = tuple(slice(1, max(2, 2 * ((n - 1) // 2) - 1)) if n > 4 else slice(0, 0) for n in shape)
    torch.testing.assert_close(back[(..., *inner)], ramp[(..., *inner)])


def test_a_constant_stays_constant():
    volume = torch.full((2, 3, 7, 5, 6), 0.3)
    torch.testing.assert_close(finer(coarser(volume), (7, 5, 6)), volume)


def test_features_of_a_crop_are_those_of_the_whole():
    """No norm over the image, no zeros at the border: only what a place can see matters."""
    torch.manual_seed(0)
    network = EncoderDecoder((2, 3, 4), 2).double()
    image = torch.rand(1, 1, 80, 76, 72, dtype=torch.float64)
    with torch.no_grad():
        whole = network(image)
        crop = network(image[..., 8:, 4:, 4:])
    middle = crop[..., 32:40, 32:40, 32:36]
    torch.testing.assert_close(middle, whole[..., 40:48, 36:44, 36:40])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 17), (8, 9, 10)])
def test_any_size_will_do(shape):
    found = EncoderDecoder()(torch.rand(2, 1, *shape))
    assert found.shape == (2, 4, *shape)
    assert found.isfinite().all()

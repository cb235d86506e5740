import pytest
import torch
from interpreted import DEVICE, Compiled
from table import SHAPES

from coincide.features.self_similarity import adjacent_pairs, neighbours
from coincide.kernels.mind import torch as reference
from worlds import noise

compiled = Compiled("mind")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)
def test_descriptors_agree_with_the_reference(dim, dtype, tolerance):
    volume = noise(SHAPES[dim], seed=1, batch=2, dtype=dtype).to(DEVICE)
    volume[1] *= 30  # each image of a batch has limits of its own
    centre = neighbours(dim, 2)
    for first, second, radius in [(*adjacent_pairs(dim, 2), 1), (centre, 0 * centre, 2)]:
        found = compiled.descriptors(volume, first, second, radius, 1e-3)
        wide = reference.descriptors(volume.double(), first, second, radius, 1e-3)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), wide, rtol=0, atol=tolerance)
        assert bool((found.amax(1) == 1).all())


def test_the_spread_is_held_between_its_limits():
    volume = noise(SHAPES[2], seed=1, sigma=0, dtype=torch.float64).to(DEVICE)
    volume[..., :9] *= 1e-4
    first, second = adjacent_pairs(2, 2)
    found = compiled.descriptors(volume, first, second, 1, 0.3)
    wanted = reference.descriptors(volume, first, second, 1, 0.3)
    free = reference.descriptors(volume, first, second, 1, 1e-9)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert float((wanted - free).abs().max()) > 0.1


def test_an_axis_of_one_voxel_has_no_patch_along_it():
    volume = noise((9, 1, 8), seed=1, dtype=torch.float64).to(DEVICE)
    first, second = adjacent_pairs(3, 1)
    found = compiled.descriptors(volume, first, second, 1, 1e-3)
    wanted = reference.descriptors(volume, first, second, 1, 1e-3)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)

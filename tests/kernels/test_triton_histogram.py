import pytest
import torch
from interpreted import DEVICE, Compiled
from table import BINS, ROWS, SHAPES
from versions import agree

from worlds import noise

compiled = Compiled("histogram")
pytestmark = [pytest.mark.triton, pytest.mark.usefixtures("interpreter")]
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


def problem(dim, dtype):
    """Intensities in bins, some beyond the range on both sides, under fractional weights."""
    shape = SHAPES[dim]
    f = noise(shape, seed=1, batch=2, dtype=dtype) * 3 + BINS / 2
    w = noise(shape, seed=2, batch=2, dtype=dtype) * 4 + BINS / 2
    w.view(-1)[:3] = torch.tensor([1.0, BINS - 2.0, 5.0])  # on the edges
    mask = torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[:, :, 2:4] = 0
    return f, w, mask


@both_dimensions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
def test_values_on_the_edges_and_voxels_without_weight_are_no_exception(dim, dtype):
    f, w, mask = problem(dim, dtype)
    agree(
        ROWS["histogram.joint_histogram"], compiled, {"fixed": f, "warped": w, "mask": mask}, DEVICE
    )

import numpy as np
import pytest
import torch

from coincide.features.self_similarity import adjacent_pairs, neighbours
from coincide.kernels.difference import mean_square, mean_square_force
from coincide.kernels.mind import torch as reference
from coincide.kernels.update import force
from worlds import SHAPES, noise

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-10)], ids=["32", "64"]
)


def offsets(kind, dim):
    if kind == "mind":
        first = neighbours(dim, 2)
        return first, 0 * first
    return adjacent_pairs(dim, 2)


@both_dimensions
def test_patch_distances_agree_with_numpy_in_the_interior(dim):
    volume = noise(SHAPES[dim], seed=1, dtype=torch.float64)
    first, second = adjacent_pairs(dim, 2)
    found = reference.distances(volume, first, second, 1)[0].numpy()
    data = volume[0, 0].numpy()
    centre = np.array(SHAPES[dim]) // 2
    patch = [np.array(o) - 1 for o in np.ndindex(*(3,) * dim)]
    for c, (a, b) in enumerate(zip(first, second, strict=True)):
        gaps = [data[tuple(centre + p + a)] - data[tuple(centre + p + b)] for p in patch]
        assert found[(c, *centre)] == pytest.approx(np.mean(np.square(gaps)), rel=1e-12)


def test_there_are_twelve_adjacent_pairs_in_3d_and_four_in_2d():
    assert [len(adjacent_pairs(dim, 2)[0]) for dim in (2, 3)] == [4, 12]


@both_dimensions
@precisions
def test_the_mean_square_is_that_of_numpy(dim, dtype, tolerance):
    f = noise(SHAPES[dim], seed=1, batch=2, channels=3, dtype=dtype)
    w = noise(SHAPES[dim], seed=2, batch=2, channels=3, dtype=dtype)
    mask = torch.rand(2, 1, *SHAPES[dim], generator=torch.Generator().manual_seed(0)).to(dtype)
    found = mean_square(f, w, mask)
    for b in range(2):
        square = ((w[b].double() - f[b].double()) ** 2).mean(0).numpy()
        expected = np.average(square, weights=mask[b, 0].double().numpy())
        assert float(found[b]) == pytest.approx(expected, rel=tolerance)


@both_dimensions
@precisions
def test_the_force_of_the_mean_square_is_that_of_its_gradient(dim, dtype, tolerance):
    f, w = (noise(SHAPES[dim], seed=n, batch=2, channels=3, dtype=dtype) for n in (1, 2))
    mask = torch.rand(2, 1, *SHAPES[dim], generator=torch.Generator().manual_seed(0)).to(dtype)
    mask[1] = 0
    metric = np.diag([0.5, 1.0, 2.0][:dim]) + 0.1
    found, expected = (torch.empty(2, dim, *SHAPES[dim], dtype=dtype) for _ in range(2))
    value = mean_square_force(f, w, mask, metric, out=found)
    leaf = w.clone().requires_grad_()
    square = mean_square(f, leaf, mask)
    (slope,) = torch.autograd.grad(square.sum(), leaf)
    force(slope, w, metric, out=expected)
    torch.testing.assert_close(value, square.detach(), rtol=tolerance, atol=0)
    limit = tolerance * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)
    assert not found[1].any()

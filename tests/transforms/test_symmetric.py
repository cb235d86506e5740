import numpy as np
import pytest
import torch

from coincide.files.itk import read_transform, write_transform
from coincide.transforms.displacement import Displacement
from coincide.transforms.symmetric import Symmetric
from worlds import noise, oblique

both_dimensions = pytest.mark.parametrize("dim", [2, 3])
SHAPES = {2: (33, 31), 3: (21, 20, 22)}


def halves(dim, seed=1):
    grid = oblique(SHAPES[dim], spacing=1.5)
    first, second = (
        1.2 * noise(grid.shape, seed=s, sigma=4, channels=dim) for s in (seed, seed + 1)
    )
    return Symmetric(fixed_half=first, moving_half=second, grid=grid).requires_grad_(False)


@both_dimensions
def test_the_inverse_is_the_halves_exchanged(dim):
    transform = halves(dim)
    back = transform.inverse()
    assert torch.equal(back.fixed_half, transform.moving_half)
    assert torch.equal(back.moving_half, transform.fixed_half)
    again = back.inverse().requires_grad_(False)
    assert torch.equal(again.displacement(transform.grid), transform.displacement(transform.grid))


@both_dimensions
def test_it_leads_from_one_end_of_the_middle_to_the_other(dim):
    transform = halves(dim)
    grid = transform.grid
    small = grid.crop((6,) * dim, [n - 6 for n in grid.shape])
    first = Displacement(field=transform.fixed_half, grid=grid).requires_grad_(False)
    second = Displacement(field=transform.moving_half, grid=grid).requires_grad_(False)
    middle = small.points()
    assert float((first(middle) - second(middle)).norm(dim=-1).max()) > 2
    gap = (transform(first(middle)) - second(middle)).norm(dim=-1)
    assert float(gap.median()) < 0.05
    assert float(gap.max()) < 0.15


@both_dimensions
def test_equal_halves_are_the_identity(dim):
    transform = halves(dim)
    same = Symmetric(
        fixed_half=transform.fixed_half, moving_half=transform.fixed_half, grid=transform.grid
    ).requires_grad_(False)
    small = transform.grid.crop((6,) * dim, [n - 6 for n in transform.grid.shape])
    moved = same.displacement(small).norm(dim=1)
    assert float(moved.max()) < 0.1
    assert float(transform.displacement(small).norm(dim=1).max()) > 2


def test_a_frozen_transform_is_inverted_once():
    transform = halves(2)
    assert transform.middle() is transform.middle()
    free = halves(2).requires_grad_(True)
    assert free.middle() is not free.middle()


def test_both_halves_come_back_from_a_file(tmp_path):
    transform = halves(3)
    write_transform(transform, tmp_path / "t.h5")
    again = read_transform(tmp_path / "t.h5")
    assert isinstance(again, Symmetric)
    assert torch.equal(again.fixed_half, transform.fixed_half)
    assert torch.equal(again.moving_half, transform.moving_half)
    points = torch.tensor(np.random.default_rng(0).uniform(-5, 25, (1, 50, 3)))
    back, there = again.inverse(), transform(points)
    inside = torch.tensor((np.abs(transform.grid.to_index(there[0].numpy()) - 10) < 6).all(-1))
    assert int(inside.sum()) > 3
    assert float((back(there) - points)[0, inside].norm(dim=-1).max()) < 0.1

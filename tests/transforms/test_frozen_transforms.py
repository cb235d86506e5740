"""What is frozen stays frozen wherever a transform is taken."""

import copy

import pytest
import torch

from coincide.transforms.linear import Rigid
from coincide.transforms.symmetric import Symmetric
from random_transforms import NAMES, SHAPES, interior, randomised
from worlds import noise, oblique

every_transform = pytest.mark.parametrize("name", NAMES)
both_dimensions = pytest.mark.parametrize("dim", [2, 3])


@every_transform
@both_dimensions
def test_a_frozen_transform_is_frozen_on_another_grid_inverted_and_in_a_chain(name, dim):
    grid = oblique(SHAPES[dim])
    coarse = grid.shrink((2,) * dim)
    transform = randomised(name, coarse, size=0.3)
    chain = transform @ randomised("rigid", coarse)
    for made in (
        transform.on(grid),
        transform.on(coarse),
        transform.inverse(),
        transform.inverse().on(grid),
        chain.on(grid),
        chain.inverse(),
        copy.deepcopy(transform),
    ):
        assert list(made.parameters())
        assert not [n for n, held in made.named_parameters() if held.requires_grad]
        assert not made(interior(grid, 5)).requires_grad


@every_transform
def test_a_free_transform_is_free_on_another_grid_with_parameters_of_its_own(name):
    grid = oblique(SHAPES[2])
    transform = randomised(name, grid.shrink((2, 2))).requires_grad_(True)
    made = transform.on(grid)
    assert all(held.requires_grad and held.is_leaf for held in made.parameters())
    with torch.no_grad():
        back = transform.inverse()
    assert all(held.requires_grad and held.is_leaf for held in back.parameters())


def test_one_frozen_parameter_stays_so_alone():
    grid = oblique(SHAPES[2])
    turning = Rigid().on(grid)
    turning.shift.requires_grad_(False)
    assert [n for n, p in turning.on(grid).named_parameters() if p.requires_grad] == [
        "parameters_mm"
    ]
    field = noise(grid.shape, sigma=4, channels=2)
    half = Symmetric(fixed_half=field, moving_half=field, grid=grid)
    half.fixed_half.requires_grad_(False)
    names = [n for n, p in half.on(grid.shrink((2, 2))).named_parameters() if p.requires_grad]
    assert names == ["moving_half"]
    # exchanged, the other half is the frozen one
    back = half.inverse()
    assert not back.moving_half.requires_grad
    assert back.fixed_half.requires_grad


def test_a_refined_lattice_keeps_what_is_frozen():
    transform = randomised("bspline", oblique(SHAPES[2]))
    assert not transform.refined().coefficients.requires_grad
    assert transform.requires_grad_(True).refined().coefficients.requires_grad


def test_halves_that_were_optimised_after_a_look_are_inverted_anew():
    grid = oblique(SHAPES[2])
    field = noise(grid.shape, sigma=4, channels=2)
    transform = Symmetric(fixed_half=field, moving_half=field, grid=grid).requires_grad_(False)
    before = transform.displacement(grid)
    transform.requires_grad_(True).displacement(grid).sum().backward()
    transform.fixed_half.data = 2 * field
    after = transform.requires_grad_(False).displacement(grid)
    expected = Symmetric(fixed_half=2 * field, moving_half=field, grid=grid).displacement(grid)
    assert torch.equal(after, expected.detach())
    assert not torch.equal(after, before)

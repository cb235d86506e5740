"""Any transform without folds: mended, or returned as it is."""

import pytest
import torch

from coincide.optimisers.settle import unfolded
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.jacobian import determinant
from coincide.transforms.symmetric import Symmetric
from random_transforms import NAMES, plain, randomised
from worlds import noise, oblique

FIELDS = ("displacement", "symmetric")
SHAPE = (25, 27)


def folding():
    grid = oblique(SHAPE)
    field = 1.2 * noise(SHAPE, sigma=1.5, channels=2)
    assert float(determinant(field, grid).min()) < 0
    return Displacement(field=field, grid=grid)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIELDS])
def test_what_cannot_fold_or_cannot_be_smoothed_in_places_is_returned_as_it_is(name):
    transform = randomised(name, oblique(SHAPE))
    assert unfolded(transform) is transform
    empty = plain(name)
    assert unfolded(empty) is empty


@pytest.mark.parametrize("name", FIELDS)
def test_what_lies_on_no_grid_yet_is_returned_as_it_is(name):
    transform = plain(name)
    assert unfolded(transform) is transform


def test_a_folding_member_of_a_chain_is_mended():
    affine = randomised("affine", oblique(SHAPE), size=0.1)
    rough = folding()
    chain = unfolded(affine @ rough)
    assert isinstance(chain, Composite)
    first, second = chain
    assert first is affine
    assert float(determinant(second.field.detach(), second.grid).min()) > 0
    assert torch.equal(second.field, unfolded(rough).field)


def test_what_is_frozen_stays_frozen_unfolded():
    rough = folding()
    assert unfolded(rough).field.requires_grad
    assert not unfolded(rough.requires_grad_(False)).field.requires_grad
    halves = Symmetric(fixed_half=rough.field, moving_half=rough.field, grid=rough.grid)
    halves.fixed_half.requires_grad_(False)
    made = unfolded(halves)
    assert (made.fixed_half.requires_grad, made.moving_half.requires_grad) == (False, True)


def test_what_is_trained_through_is_not_unfolded_without_a_word():
    rough = folding()
    drive = torch.ones((), requires_grad=True)
    transform = Displacement(field=drive * rough.field.detach(), grid=rough.grid)
    with pytest.raises(ValueError, match=r"unfolding has no derivative; unfold it under torch.no"):
        unfolded(transform)
    with torch.no_grad():
        assert torch.equal(unfolded(transform).field, unfolded(rough).field)

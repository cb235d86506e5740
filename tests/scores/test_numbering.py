import numpy as np
import pytest

from coincide.scores.numbering import differently_numbered
from coincide.scores.overlap import overlap
from coincide.space.image import Image
from coincide.space.label_numbers import matched_by_name, renumbered


def test_maps_that_number_organs_differently_score_only_after_renumbering():
    fixed = np.array([[0, 1, 1], [2, 2, 3]])
    moving = Image.from_array(np.array([[0, 2, 2], [3, 3, 1]]))
    assert overlap(fixed, moving.numpy()).mean_dice < 0.1
    right = renumbered(moving, {2: 1, 3: 2, 1: 3})
    assert overlap(fixed, right.numpy()).mean_dice == 1


def test_a_label_that_is_not_listed_is_not_taken_for_another_organ():
    moving = Image.from_array(np.array([[0, 5], [1, 5]]))
    assert renumbered(moving, {5: 2}).numpy().tolist() == [[0, 2], [0, 2]]


def test_a_table_for_another_map_is_refused():
    moving = Image.from_array(np.array([[0, 5], [1, 5]]))
    with pytest.raises(ValueError, match="has the labels 1, 5, none of which is in the table"):
        renumbered(moving, {7: 2})
    with pytest.raises(TypeError, match="give integers"):
        renumbered(moving.float(), {5: 2})


def test_tables_are_matched_by_name_whatever_the_spelling():
    moving, fixed = {52: "Aorta", 9: "Left-Kidney", 4: "gut"}, {23: "aorta", 3: "left_kidney"}
    assert matched_by_name(moving, fixed) == {52: 23, 9: 3}
    with pytest.raises(ValueError, match="share no name"):
        matched_by_name({1: "a"}, {1: "b"})
    with pytest.raises(ValueError, match="calls both 1 and 2 'A'"):
        matched_by_name({1: "a", 2: "A"}, {1: "a"})


def test_other_numbers_are_noticed_and_a_poor_registration_is_not_taken_for_them():
    generator = np.random.default_rng(0)
    fixed = np.repeat(np.repeat(generator.integers(0, 6, (8, 8)), 6, 0), 6, 1)
    shuffled = np.array([0, 3, 4, 5, 1, 2])[fixed]
    assert differently_numbered(fixed, shuffled) == {1: 3, 2: 4, 3: 5, 4: 1, 5: 2}
    assert differently_numbered(fixed, fixed) == {}
    assert differently_numbered(fixed, np.roll(fixed, 2, 1)) == {}
    assert differently_numbered(fixed, np.zeros_like(fixed)) == {}


def test_numbers_may_be_large_or_negative():
    fixed = np.array([0, -5, -5, 10**9, 10**9, 10**9])
    warped = np.array([0, 10**12, 10**12, 7, 7, 7])
    assert differently_numbered(fixed, warped) == {-5: 10**12, 10**9: 7}

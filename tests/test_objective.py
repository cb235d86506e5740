import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coincide.alignment import Alignment
from coincide.objective import Penalty, Similarity, objective
from coincide.registry import parts
from coincide.similarities.mse import MSE
from coincide.similarities.overlap import Overlap
from coincide.space.image import Image
from coincide.transforms.composite import Composite
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine
from worlds import SHAPES, image

TERMS = [
    *parts(Similarity),
    *parts(Penalty),
    "lncc(radius=2)",
    "mi(bins=16)",
    "elastic(mu=0.5, lamda=2.0)",
    "overlap(labels=(1, 2))",
]


@pytest.mark.parametrize(
    "text",
    [
        "mse",
        "0.1*bending",
        "mse + 0.1*bending",
        "lncc(radius=2) + 0.5*mse + 0.001*bending",
        "2*mi(bins=64) + 1e-05*elastic(mu=0.5, lamda=0.0)",
        "overlap(labels=(1, 2))",
        "-1*mse",
        "0.3333333333333333*mse",
        "12345678.9*mse",
        "1e+06*mse",
    ],
)
def test_what_is_written_is_what_was_read(text):
    assert str(objective(text)) == text


@given(st.lists(st.tuples(st.floats(1e-8, 1e8), st.sampled_from(TERMS)), min_size=1, max_size=4))
def test_every_objective_survives_being_written(terms):
    first = objective(" + ".join(f"{w!r}*{t}" for w, t in terms))
    assert objective(str(first)) == first
    assert str(objective(str(first))) == str(first)


def test_weights_multiply_and_sums_join():
    total = 2 * (objective("mse + 0.5*bending") + "ncc")
    assert str(total) == "2*mse + bending + 2*ncc"
    assert str(objective("2*(mse + 0.5*bending)")) == "2*mse + bending"
    assert str(objective("(mse + 0.5*bending)*2")) == "2*mse + bending"
    assert str(objective("0.5*0.5*mse")) == "0.25*mse"


def problem() -> Alignment:
    fixed, moving = (image(SHAPES[3], seed=s, batch=2) for s in (0, 1))
    field = torch.tensor(np.random.default_rng(0).normal(size=(1, 3, *SHAPES[3]))).float()
    return Alignment(fixed, moving, Displacement(field=field, grid=fixed.grid))


def test_the_cost_is_the_weighted_sum_of_the_terms_meaned_over_pairs():
    alignment = problem()
    total, values = objective("mse + 0.25*ncc + 3*bending")(alignment)
    terms = {n: float(objective(n).terms[0][1](alignment).mean().detach()) for n in values}
    assert list(values) == ["mse", "ncc", "bending"]
    assert values == pytest.approx(terms)
    expected = terms["mse"] + 0.25 * terms["ncc"] + 3 * terms["bending"]
    assert float(total.detach()) == pytest.approx(expected, rel=1e-6)
    assert total.requires_grad


def test_features_are_prepared_once_for_all_steps():
    calls = []

    class Counting(MSE):
        def prepare(self, image: Image) -> Image:
            calls.append(image)
            return image.with_data(image.data * 2)

    alignment = problem()
    part = Counting()
    first = part(alignment)
    again = Alignment(alignment.fixed, alignment.moving, alignment.transform, alignment.prepared)
    assert torch.equal(part(again), first)
    assert len(calls) == 2


def test_a_measure_of_other_images_moves_with_the_same_transform():
    alignment = problem()
    labels = [i.with_data((i.data > 0).long()) for i in (alignment.fixed, alignment.moving)]
    term = Overlap(labels=(1,)).of(*labels)
    expected = Overlap(labels=(1,))(Alignment(*labels, alignment.transform))
    total, values = (objective("mse") + 0.5 * term)(alignment)
    assert values["overlap of pair"] == pytest.approx(float(expected.mean().detach()))
    assert total.requires_grad


def test_the_mask_of_a_warped_image_is_where_both_images_count():
    fixed, moving = image(SHAPES[3]), image(SHAPES[3], seed=1)
    left, front = (torch.zeros(1, 1, *SHAPES[3]) for _ in range(2))
    left[:, :, :6] = 1
    front[..., 4:] = 1
    same = Affine(np.eye(4)).requires_grad_(False)
    warped = Alignment(fixed.with_mask(left), moving.with_mask(front), same).warped
    # float32 positions leave 1e-6 of the neighbours' weights
    assert torch.allclose(warped.mask, left * front, atol=1e-4)


def test_a_linear_map_at_the_end_of_a_chain_is_folded_into_the_sampling():
    alignment = problem()
    matrix = np.eye(4)
    matrix[:-1] += 0.05 * np.random.default_rng(1).standard_normal((3, 4))
    affine = Affine(matrix)
    chain = Composite([affine, alignment.transform])
    free = Alignment(alignment.fixed, alignment.moving, chain).warped
    held = Alignment(
        alignment.fixed,
        alignment.moving,
        Composite([Affine(matrix).requires_grad_(False), alignment.transform]),
    ).warped
    same = (free.data - held.data).abs() < 1e-4
    assert float(same.float().mean()) > 0.999


def test_the_linear_map_of_a_chain_still_receives_its_gradient():
    alignment = problem()
    affine = Affine(np.eye(4))
    cost = MSE()(
        Alignment(alignment.fixed, alignment.moving, Composite([affine, alignment.transform]))
    )
    cost.sum().backward()
    assert float(affine.shift.grad.abs().max()) > 0
    assert float(alignment.transform.field.grad.abs().max()) > 0

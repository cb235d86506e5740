import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coincide.alignment import Alignment
from coincide.objective import Penalty, Similarity, objective
from coincide.registry import parts
from coincide.similarities.labels import Labels
from coincide.similarities.mse import MSE
from coincide.similarities.overlap import Overlap
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.pyramid import at
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
    again = Alignment(
        alignment.fixed, alignment.moving, alignment.transform, prepared=alignment.prepared
    )
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


def test_label_maps_are_compared_as_by_their_indicator_images():
    alignment = problem()
    labels = [
        i.with_data((2 * i.data).round().long().clamp(-1, 3) * 7)
        for i in (alignment.fixed, alignment.moving)
    ]
    counted = (7, 21)
    for mask in (None, (alignment.fixed.data > 0).float()):
        aligned = Alignment(alignment.fixed.with_mask(mask), alignment.moving, alignment.transform)
        pair = Alignment(labels[0].with_mask(mask), labels[1], alignment.transform)
        found = Labels(values=counted).of(*labels)(aligned)
        size = torch.stack(
            [(aligned.warped.weight() * (labels[0].data == v)).flatten(1).sum(1) for v in counted]
        ).sqrt()
        each = torch.stack([Overlap(labels=(v,))(pair) for v in counted])
        expected = (size * each).sum(0) / size.sum(0)
        assert found.detach().numpy() == pytest.approx(expected.detach().numpy(), rel=1e-5)
        slopes = [
            torch.autograd.grad(cost.sum(), alignment.transform.field)[0]
            for cost in (found, expected)
        ]
        torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-7)


def test_every_label_pulls_by_the_root_of_its_size():
    grid = Grid((40, 40), np.eye(3))
    fixed = torch.zeros(1, 1, 40, 40, dtype=torch.int64)
    fixed[..., 2:22, 2:22], fixed[..., 30:34, 30:34] = 1, 2
    lost = torch.where(fixed == 2, 0, fixed)
    images = [Image(d, grid) for d in (fixed, lost)]
    still = Displacement().on(grid)
    blank = Image(torch.zeros(1, 1, 40, 40), grid)
    cost = Labels().of(*images)(Alignment(blank, blank, still))
    assert float(cost.detach()) == pytest.approx(4 / (4 + 20), rel=1e-6)


def test_labels_that_the_fixed_map_has_count_unless_some_are_named():
    alignment = problem()
    fixed = alignment.fixed.with_data((alignment.fixed.data > 0).long() * 11)
    moving = alignment.moving.with_data((alignment.moving.data > 0).long() * 11)
    stray = moving.with_data(torch.where(moving.data == 0, 5, moving.data))
    for kind in (lambda v: Labels(values=v).of, lambda v: Overlap(labels=v).of):
        costs = [kind(v)(fixed, m)(alignment) for v in ((), (11,)) for m in (moving, stray)]
        for cost in costs[1:]:
            torch.testing.assert_close(cost, costs[0])
    with pytest.raises(ValueError, match=r"no label is in both maps: .*\(11,\).*\(5, 11\).*\(5,\)"):
        Labels(values=(5,)).of(fixed, stray)


def test_a_pair_of_finer_images_is_compared_as_coarsely_as_the_registered_ones():
    alignment = problem()
    fixed, moving = alignment.fixed, alignment.moving
    grid = fixed.grid
    spots = [i.with_data((i.data > 0.5).long()) for i in (fixed, moving)]
    coarse = grid.shrink(grid.factors(2 * grid.finest))
    one, other = (at(i, coarse) for i in (fixed, moving))
    aligned = Alignment(one, other, alignment.transform)
    for pair, part in (((fixed, moving), MSE()), (spots, Overlap())):
        found = part.of(*pair)(aligned)
        small = [at(i, coarse) for i in pair]
        torch.testing.assert_close(found, part(Alignment(*small, alignment.transform)))
    assert len(aligned.prepared) == 2


def test_a_term_without_its_data_says_how_to_give_them():
    alignment = problem()
    for name in ("labels", "landmarks"):
        total = objective(f"mse + 0.5*{name}")
        assert total.absent == (name,)
        with pytest.raises(
            ValueError, match=rf"not given the {name} of both .*with_data\('{name}'"
        ):
            total(alignment)
    points = alignment.fixed.grid.points()[0, :9].numpy()
    total = total.with_data("landmarks", points, points).with_data("labels", None, None)
    assert total.absent == ()
    assert str(total) == "mse + 0.5*landmarks"
    assert "landmarks" in total(alignment)[1]


def test_other_data_see_the_linear_map_that_images_have_seen_already():
    alignment = problem()
    matrix = np.eye(4)
    matrix[:-1] += 0.02 * np.random.default_rng(1).standard_normal((3, 4))
    affine = Affine(matrix).requires_grad_(False)
    whole = affine @ alignment.transform
    points = alignment.fixed.grid.points()[0, ::40].numpy()
    labels = [i.with_data((i.data > 0).long()) for i in (alignment.fixed, alignment.moving)]
    total = objective("mse + labels + landmarks").with_data("landmarks", points, points)
    total = (total + MSE().of(alignment.fixed, alignment.moving)).with_data("labels", *labels)
    fixed, moving, inner = alignment.fixed, alignment.moving, alignment.transform
    _, after = total(Alignment(fixed, moving, inner, outer=affine))
    _, expected = total(Alignment(alignment.fixed, alignment.moving, whole))
    _, without = total(alignment)
    assert after["mse"] == without["mse"] != expected["mse"]
    for name in ("labels", "landmarks", "mse of pair"):
        assert after[name] == pytest.approx(expected[name], rel=1e-4)
        assert after[name] != pytest.approx(without[name], rel=1e-3)

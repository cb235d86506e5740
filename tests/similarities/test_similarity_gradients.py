"""Training runs on the terms: each is differentiable in whatever it is given, or says it is not."""

import numpy as np
import pytest
import torch

from coincide.alignment import Alignment
from coincide.objective import Objective, PairedTerm, Penalty, Similarity, objective
from coincide.registry import build, parts
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.displacement import Displacement
from worlds import noise

GRID = Grid((13, 11), np.array([[1.5, 0.2, -3.0], [0.0, 1.1, 4.0], [0, 0, 1]]))
# label maps have no intensities to follow, and a histogram's window jumps on the fixed image
REFUSES = {
    "distance_map": {"fixed", "moving"},
    "overlap": {"fixed", "moving"},
    "mi": {"fixed"},
    "nmi": {"fixed"},
    "local_mi": {"fixed"},
    "local_nmi": {"fixed"},
}
WHOLE = {"distance_map", "overlap"}  # compare label maps


def given(name: str, batch: int = 1) -> dict[str, torch.Tensor]:
    """Everything that a term may be asked the gradient of, float64."""
    shape = GRID.shape
    fixed, moving = (
        noise(shape, seed=s, sigma=1.5, batch=batch, dtype=torch.float64) for s in (0, 1)
    )
    if name in WHOLE:
        fixed, moving = fixed > 0, moving > 0
    return {
        "fixed": fixed.double(),
        "moving": moving.double(),
        "mask": 0.6 + 0.2 * noise(shape, seed=2, sigma=1, batch=batch, dtype=torch.float64),
        "field": 0.7 * noise(shape, seed=3, sigma=2, batch=batch, channels=2, dtype=torch.float64),
    }


def cost(name: str, values: dict[str, torch.Tensor]) -> torch.Tensor:
    fixed, moving = values["fixed"], values["moving"]
    if name in WHOLE and not (fixed.requires_grad or moving.requires_grad):
        fixed, moving = fixed.long(), moving.long()
    alignment = Alignment(
        Image(fixed, GRID, values["mask"]),
        Image(moving, GRID),
        Displacement(field=values["field"], grid=GRID),
    )
    return objective(name).costs(alignment).sum()


@pytest.mark.parametrize("of", ["fixed", "moving", "mask", "field"])
@pytest.mark.parametrize("name", parts(Similarity))
def test_a_similarity_is_differentiable_in_all_that_it_is_given_or_says_so(name, of):
    values = given(name)
    leaf = values[of].clone().requires_grad_()
    values[of] = leaf * 1.0  # with a graph, as what a network computes
    if of in REFUSES.get(name, ()):
        with pytest.raises((ValueError, TypeError), match="gradient"):
            cost(name, values)
        return
    (gradient,) = torch.autograd.grad(cost(name, values), leaf)
    assert float(gradient.abs().max()) > 0
    direction = torch.sign(gradient) * torch.rand(
        leaf.shape, dtype=leaf.dtype, generator=torch.Generator().manual_seed(4)
    )
    step = 1e-5

    def along(sign):
        with torch.no_grad():
            return float(cost(name, {**values, of: leaf.detach() + sign * step * direction}))

    expected = (along(1) - along(-1)) / (2 * step)
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize("name", parts(Penalty))
def test_a_penalty_is_differentiable_in_a_field_that_a_network_computed(name):
    values = given(name)
    leaf = values["field"].clone().requires_grad_()
    values["field"] = leaf * 1.0
    (gradient,) = torch.autograd.grad(cost(name, values), leaf)
    if name != "folding":  # nothing folds here
        assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("name", [*parts(Similarity), *parts(Penalty)])
def test_costs_are_those_of_each_pair_alone(name):
    values = given(name, batch=3)
    if name in WHOLE:
        values = {k: v.long() if k in ("fixed", "moving") else v for k, v in values.items()}
    sum_of = objective(f"{name} + 0.5*mse" if name not in WHOLE else name)

    def costs(chosen):
        images = [
            Image(values[k][chosen], GRID, values["mask"][chosen] if k == "fixed" else None)
            for k in ("fixed", "moving")
        ]
        field = Displacement(field=values["field"][chosen], grid=GRID)
        return sum_of.costs(Alignment(*images, field)).detach()

    whole = costs(slice(None))
    assert whole.shape == (3, len(sum_of.terms))
    each = torch.cat([costs(slice(b, b + 1)) for b in range(3)])
    torch.testing.assert_close(whole, each, rtol=1e-6, atol=1e-9)


def test_the_total_is_the_weighted_mean_of_the_costs():
    values = given("mse", batch=2)
    total = objective("2*mse + 0.1*diffusion + lncc(radius=2)")
    alignment = Alignment(
        Image(values["fixed"], GRID),
        Image(values["moving"], GRID),
        Displacement(field=values["field"], grid=GRID),
    )
    costs = total.costs(alignment)
    whole, terms = total(alignment)
    assert total.weights.tolist() == [2.0, 0.1, 1.0]
    assert float(whole) == pytest.approx(float((costs @ total.weights).mean()))
    assert terms["mse"] == pytest.approx(float(costs[:, 0].mean()))


@pytest.mark.parametrize("name", parts(PairedTerm))
def test_data_beside_the_images_give_their_gradient_to_the_field(name):
    values = given(name)
    leaf = values["field"].clone().requires_grad_()
    if name == "labels":
        data = [Image((values[k] > 0.2).long(), GRID) for k in ("fixed", "moving")]
    else:
        points = GRID.points()[0, 20:60:7].numpy()
        data = [points, points + 0.5]
    term = build(name).of(*data)
    images = (Image(values[k], GRID) for k in ("fixed", "moving"))
    alignment = Alignment(*images, Displacement(field=leaf * 1.0, grid=GRID))
    (gradient,) = torch.autograd.grad(Objective(((1.0, term),)).costs(alignment).sum(), leaf)
    assert float(gradient.abs().max()) > 0

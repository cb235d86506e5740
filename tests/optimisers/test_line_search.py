"""What the optimisers that search along a line promise, on costs that are known exactly."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from coincide.alignment import Alignment
from coincide.objective import Term, objective
from coincide.optimisers.level import Level
from coincide.optimisers.line_search import Landscape, Place, backtrack, remembered
from coincide.optimisers.loop import optimise
from coincide.optimisers.optimiser import Problem
from coincide.registry import build
from coincide.synthetic.phantoms import textured
from coincide.transforms.transform import Transform

LOWEST = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)


class Valley(Term):
    """(x - lowest)ᵀ diag(stiffness) (x - lowest) + 1 of a shift x."""

    name = "valley"

    def __init__(self, *stiffness: float):
        self.stiffness = torch.tensor(stiffness, dtype=torch.float64)

    def __str__(self) -> str:
        return self.name

    def __call__(self, alignment: Alignment) -> torch.Tensor:
        gap = alignment.transform.shift - LOWEST
        return (self.stiffness * gap * gap).sum(1) + 1


def landscape(term: Term, transform: str = "translation") -> Landscape:
    image = textured((8, 8, 8)).image
    moved: Transform = build(transform).on(image.grid)
    return Landscape(moved, Problem(image, image, moved, objective(term)).cost)


def lower(here: Place, there: Place, direction: torch.Tensor, length: float) -> bool:
    return there.cost <= here.cost + 1e-4 * length * float(here.gradient @ direction)


@pytest.mark.parametrize("length", [1e-3, 0.4, 1.0, 30.0, 1000.0])
def test_a_search_ends_where_the_cost_has_fallen_enough(length):
    floor = landscape(Valley(1.0, 2.0, 0.5))
    here = floor.here()
    found = backtrack(floor, here, -here.gradient, length)
    assert found.place is not None
    assert found.length <= length
    assert lower(here, found.place, -here.gradient, found.length)
    torch.testing.assert_close(found.place.point, here.point - found.length * here.gradient)


def test_a_search_uphill_finds_nothing():
    floor = landscape(Valley(1.0, 1.0, 1.0))
    here = floor.here()
    found = backtrack(floor, here, here.gradient, 1.0)
    assert found.place is None


def test_a_search_from_the_lowest_point_says_that_it_is_flat():
    floor = landscape(Valley(1.0, 1.0, 1.0))
    lowest = floor.at(LOWEST + 1e-6)
    found = backtrack(floor, lowest, -lowest.gradient, 0.5)
    assert found.place is None
    assert found.flat


@pytest.mark.parametrize("length", [0.15, 0.2, 0.4])
def test_the_remembered_length_is_the_best_one_of_a_quadratic_cost(length):
    floor = landscape(Valley(1.0, 2.0, 0.5))
    here = floor.here()
    found = backtrack(floor, here, -here.gradient, length)
    best = float(
        here.gradient
        @ here.gradient
        / (here.gradient @ (2 * Valley(1, 2, 0.5).stiffness * here.gradient))
    )
    assert remembered(here, -here.gradient, found) == pytest.approx(best)


def test_a_length_that_was_far_too_short_grows_by_four():
    floor = landscape(Valley(1.0, 2.0, 0.5))
    here = floor.here()
    found = backtrack(floor, here, -here.gradient, 1e-3)
    assert remembered(here, -here.gradient, found) == pytest.approx(4e-3)


def steps_to(optimiser: str, stiffness: tuple[float, ...]) -> int:
    image = textured((8, 8, 8)).image
    result = optimise(
        image,
        image,
        "translation",
        objective=Valley(*stiffness),
        optimiser=optimiser,
        levels=(Level(0, 300, 0),),
    )
    torch.testing.assert_close(result.transform.shift[0].detach(), LOWEST, rtol=0, atol=0.05)
    return len(result.history)


@pytest.mark.parametrize(("name", "steps"), [("conjugate", 15), ("lbfgs", 15), ("descent", 200)])
def test_the_bottom_of_a_narrow_valley_is_found(name, steps):
    assert steps_to(name, (100.0, 1.0, 10.0)) <= steps


def test_conjugate_directions_end_a_quadratic_cost_in_as_many_steps_as_it_has_axes():
    # one more step finds that nothing is left, on either kind of direction
    assert steps_to("conjugate", (10.0, 1.0, 2.0)) <= 3 + 2
    assert steps_to("descent", (10.0, 1.0, 2.0)) > 3 + 2


@pytest.mark.parametrize("name", ["conjugate", "descent"])
def test_no_parameter_moves_further_than_allowed(name):
    image = textured((8, 8, 8)).image
    moved = build("translation").on(image.grid)
    run = build(f"{name}(first=1.0, longest=0.25)").start(
        Problem(image, image, moved, objective(Valley(1.0, 2.0, 0.5)))
    )
    places = []
    for _ in range(30):
        places.append(moved.shift.detach().clone())
        run.step()
    longest = max(float((b - a).abs().max()) for a, b in itertools.pairwise(places))
    assert 0.2 < longest <= 0.25 + 1e-9
    torch.testing.assert_close(run.finish().shift[0].detach(), LOWEST, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", ["conjugate", "descent"])
def test_no_lower_cost_of_images_is_found_by_scipy(name):
    from test_optimisers import pair

    fixed, moving, _ = pair((20, 18, 16), spacing=2.0)
    moved = build("affine").on(fixed.grid)
    floor = Landscape(moved, Problem(fixed, moving, moved, objective("nmi")).cost)

    def cost(x: np.ndarray) -> tuple[float, np.ndarray]:
        place = floor.at(torch.as_tensor(x))
        return place.cost, place.gradient.numpy()

    lowest = minimize(cost, np.zeros(12), jac=True, method="CG", options={"maxiter": 200}).fun
    result = optimise(
        fixed, moving, "affine", objective="nmi", optimiser=name, levels=(Level(0, 200, 0),)
    )
    costs = [step.cost for step in result.history]
    assert lowest < costs[0] - 0.05
    assert costs[-1] < lowest + 1e-3

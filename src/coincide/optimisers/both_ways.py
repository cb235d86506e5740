"""Both ways: two maps, each fitted to the images and both so that one undoes the other."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.objective import Penalty, Similarity
from coincide.optimisers.optimiser import Problem
from coincide.optimisers.scattered import Scattered, both_prepared, refuse
from coincide.optimisers.strata import Strata
from coincide.transforms.derivatives import jacobian_at
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class Agreement:
    r"""By what maps that do not undo each other are penalised.

    Args:
        distance: Weight of $\lVert B(F(x)) - x \rVert^2$, 1/mm² (0 or more).
        gradient: Weight of $\lVert \nabla (B \circ F)(x) - I \rVert^2$, no unit (0 or more).
    """

    distance: float
    gradient: float


class BothWays:
    """Two images asked at random points, from each to the other.

    Args:
        problem: The images of a level and the objective.
        points: Where similarities are asked, in each direction.
        regularised: Where penalties are; 0: at the same points.
        name: Of the optimiser, in errors.

    Raises:
        ValueError: if the objective has terms that cannot be asked at points.
    """

    def __init__(self, problem: Problem, points: int, regularised: int, name: str):
        refuse(problem.objective, name)
        for _, term in problem.objective.terms:
            if not isinstance(term, Similarity | Penalty):
                raise ValueError(f"{name} looks at the two images alone, not at {term}")
        self.objective, self.device = problem.objective, problem.fixed.data.device
        images = both_prepared(problem)
        swapped = {term: (other, one) for term, (one, other) in images.items()}
        self.ways = []
        for image, pairs in ((problem.fixed, images), (problem.moving, swapped)):
            other = Strata(image.grid, regularised) if regularised else None
            strata = Strata(image.grid, points, image.mask)
            self.ways.append((Scattered(problem.objective, pairs, image.mask), strata, other))

    def cost(
        self,
        maps: tuple[Transform, Transform],
        agreement: Agreement,
        generator: torch.Generator,
    ) -> tuple[Tensor, dict[str, float]]:
        """The objective, mean of both directions, and what agreement costs; and every term.

        Args:
            maps: From the fixed to the moving world, and back.
            agreement: What is asked of them together.
            generator: Of the points.
        """
        halves, missed, turned = [], [], []
        for (scattered, strata, other), there, back in zip(
            self.ways, maps, maps[::-1], strict=True
        ):
            points, voxels = strata.draw(generator)
            points, where = points.to(self.device), None
            if other is not None:
                where = other.draw(generator)[0].to(self.device)
            halves.append(torch.stack(scattered.costs(there, points, voxels, where)).float())
            few = points if where is None else where
            # only told, it is asked at few points and without gradient
            asked = points if agreement.distance else few
            with torch.set_grad_enabled(agreement.distance > 0):
                missed.append((back(there(asked)) - asked).square().sum(-1).mean())
            if agreement.gradient:
                turned.append(_turned(there, back, few))
        terms, cycle = (halves[0] + halves[1]) / 2, (missed[0] + missed[1]) / 2
        cost = terms @ self.objective.weights.to(terms) + agreement.distance * cycle
        values = {
            str(term): float(value)
            for (_, term), value in zip(self.objective.terms, terms.detach(), strict=True)
        }
        values["cycle"] = float(cycle.detach())
        if turned:
            gradient = (turned[0] + turned[1]) / 2
            cost = cost + agreement.gradient * gradient
            values["cycle gradient"] = float(gradient.detach())
        return cost, values


def _turned(there: Transform, back: Transform, points: Tensor) -> Tensor:
    """Mean squared gradient of the distance by which there and back again misses."""
    whole = jacobian_at(back, there(points)) @ jacobian_at(there, points)
    identity = torch.eye(points.shape[2], dtype=whole.dtype, device=whole.device)
    return (whole - identity).square().sum((-2, -1)).mean()

"""Line search: along a direction, a place where the cost has really fallen."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.transforms.transform import Transform

ROUNDING = 1e-6  # share of the cost below which a promised fall is not worth a look
TRIALS = 8  # lengths tried along one direction
TURNED = 0.2  # share of the slope along a direction that a sharp search may leave
GROWTH = 4.0  # most by which a remembered length grows at once


@dataclass(frozen=True, eq=False)
class Place:
    """What is known of an objective at one point.

    Args:
        point: Every parameter of the transform, (P,) float64.
        cost: Value of the objective.
        values: Value of every term.
        gradient: Derivative of the objective by `point`, (P,).
    """

    point: Tensor
    cost: float
    values: dict[str, float]
    gradient: Tensor


class Landscape:
    """A cost as a function of one vector: all parameters of a transform.

    Args:
        transform: Moved in place.
        ask: Cost of the transform as it is, with gradient, and the value of every term.
    """

    def __init__(self, transform: Transform, ask: Callable[[], tuple[Tensor, dict[str, float]]]):
        self.ask = ask
        self.parameters = [p for p in transform.parameters() if p.requires_grad and p.numel()]

    def point(self) -> Tensor:
        """All parameters as they are now, (P,) float64."""
        return _flat([p.detach() for p in self.parameters])

    def here(self) -> Place:
        """The place where the transform is now."""
        return self.at(self.point())

    def at(self, point: Tensor) -> Place:
        """Move the transform to a point and look."""
        self.move(point)
        cost, values = self.ask()
        gradients = torch.autograd.grad(cost, self.parameters)
        return Place(point, float(cost.detach()), values, _flat(gradients))

    def move(self, point: Tensor) -> None:
        """Give the transform the parameters of a point."""
        start = 0
        for parameter in self.parameters:
            part = point[start : start + parameter.numel()].view_as(parameter)
            # past autograd, so that parameters remain leaves
            parameter.data.copy_(part)
            start += parameter.numel()


@dataclass(frozen=True, eq=False)
class Found:
    """How a search ended.

    Args:
        place: Where the cost has fallen enough; None: nowhere.
        length: Multiple of the direction that leads there, or that was tried last.
        flat: Whether less than rounding is left to gain along the direction.
    """

    place: Place | None
    length: float
    flat: bool = False


def backtrack(landscape: Landscape, here: Place, direction: Tensor, length: float) -> Found:
    """Shorten a step, by quadratic interpolation, until the cost falls by a share of its slope.

    Args:
        landscape: What to look at.
        here: Where the search starts.
        direction: Downhill, (P,).
        length: Multiple of `direction` to try first.

    References:
        Armijo (1966), doi:10.2140/pjm.1966.16.1.
    """
    fall = float(here.gradient @ direction)
    for _ in range(TRIALS):
        if -length * fall < ROUNDING * abs(here.cost):
            return Found(None, length, flat=True)
        there = landscape.at(here.point + length * direction)
        # Armijo's share is small: nearly every real fall will do
        if there.cost <= here.cost + 1e-4 * length * fall:
            return Found(there, length)
        # lowest point of the parabola through both costs and the slope, as a share of the length
        best = -fall * length / (2 * (there.cost - here.cost - length * fall))
        # never almost all, which would end in many looks, nor almost nothing
        length *= min(max(best, 0.1), 0.5)
    return Found(None, length)


def remembered(here: Place, direction: Tensor, found: Found) -> float:
    """The length to begin the next search with: where the slope along this one would vanish.

    It is at most four times the length that was found, and that much where the cost only
    becomes steeper.
    """
    assert found.place is not None
    before, after = float(here.gradient @ direction), float(found.place.gradient @ direction)
    # `before` is negative: so this says that the secant ends within GROWTH times the length
    if after >= before * (1 - 1 / GROWTH):
        return found.length * before / (before - after)
    return found.length * GROWTH


def sharpened(
    landscape: Landscape, here: Place, direction: Tensor, found: Found, *, most: float
) -> Found:
    """One more look, where the slope should vanish, if too much of it was left.

    Args:
        landscape: What to look at.
        here: Where the search started.
        direction: Downhill, (P,).
        found: What the search found, with a place.
        most: Largest multiple of `direction` allowed.
    """
    assert found.place is not None
    left = abs(float(found.place.gradient @ direction) / float(here.gradient @ direction))
    if left < TURNED:
        return found
    length = min(most, remembered(here, direction, found))
    there = landscape.at(here.point + length * direction)
    return Found(there, length) if there.cost < found.place.cost else found


def _flat(tensors: "list[Tensor] | tuple[Tensor, ...]") -> Tensor:
    # in double precision: curvature is a difference of nearly equal gradients
    return torch.cat([t.detach().double().reshape(-1) for t in tensors])

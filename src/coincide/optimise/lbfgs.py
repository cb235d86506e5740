"""L-BFGS: quasi-Newton steps with a backtracking search, for few parameters and smooth costs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from coincide.optimise.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.transforms.transform import Transform

ROUNDING = 1e-6  # share of the cost below which a promised fall is not worth a look


@named("lbfgs")
@dataclass(frozen=True)
class LBFGS(Optimiser):
    """Limited-memory BFGS; most steps cost one evaluation.

    A step is halved (by quadratic interpolation) until the cost falls enough; pairs without
    positive curvature are forgotten.

    Args:
        first: Length of the first trial step, mm (> 0).
        longest: Length that no step exceeds, mm; far away a cost may be low by chance.
        memory: Number of past steps that shape the next (1 or more).

    References:
        Liu, Nocedal (1989), doi:10.1007/BF01589116.
    """

    first: float = 1.0
    longest: float = math.inf
    memory: int = 10

    def start(self, problem: Problem) -> "LBFGSRun":
        """Begin on a level."""
        return LBFGSRun(self, problem)


class LBFGSRun(Run):
    """State of `LBFGS`: the last point, its slope, and pairs of (move, change of slope)."""

    def __init__(self, rule: LBFGS, problem: Problem):
        self.rule, self.problem = rule, problem
        self.parameters = [p for p in problem.transform.parameters() if p.numel()]
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.here = self._flat([p.detach() for p in self.parameters])
        self.cost, self.values, self.slope = self._evaluate(self.here)
        self.exhausted = False

    def step(self) -> tuple[float, dict[str, float]]:
        """One search along the quasi-Newton direction."""
        before = self.cost, self.values
        direction = -self._curved(self.slope)
        fall = float(self.slope @ direction)
        if fall >= 0:
            self.pairs, direction = [], -self.slope
            fall = float(self.slope @ direction)
        size = float(direction.norm())
        if size < 1e-12:
            self.exhausted = True
            return before
        length = 1.0 if self.pairs else self.rule.first / size
        length = min(length, self.rule.longest / size)
        for _ in range(8):
            if -length * fall < ROUNDING * abs(self.cost):
                self.exhausted = True
                break
            there = self.here + length * direction
            cost, values, slope = self._evaluate(there)
            if cost <= self.cost + 1e-4 * length * fall:
                self._remember(there - self.here, slope - self.slope)
                self.here, self.cost, self.values, self.slope = there, cost, values, slope
                return before
            best = -fall * length / (2 * (cost - self.cost - length * fall))
            length *= min(max(best, 0.1), 0.5)
        # along a bad direction start afresh, along the gradient itself stop
        self.exhausted = self.exhausted or not self.pairs
        self.pairs = []
        self._place(self.here)
        return before

    def finish(self) -> Transform:
        """The transform, changed in place."""
        self._place(self.here)
        return self.problem.transform

    def _evaluate(self, point: Tensor) -> tuple[float, dict[str, float], Tensor]:
        self._place(point)
        cost, values = self.problem.cost()
        slopes = torch.autograd.grad(cost, self.parameters)
        return float(cost.detach()), values, self._flat(slopes)

    def _place(self, point: Tensor) -> None:
        start = 0
        for parameter in self.parameters:
            part = point[start : start + parameter.numel()].view_as(parameter)
            parameter.data.copy_(part)
            start += parameter.numel()

    def _flat(self, tensors: "list[Tensor] | tuple[Tensor, ...]") -> Tensor:
        return torch.cat([t.detach().double().reshape(-1) for t in tensors])

    def _remember(self, move: Tensor, change: Tensor) -> None:
        if float(move @ change) > 1e-10 * float(move.norm() * change.norm()):
            self.pairs = [*self.pairs, (move, change)][-self.rule.memory :]

    def _curved(self, slope: Tensor) -> Tensor:
        weights = []
        for move, change in reversed(self.pairs):
            weight = (move @ slope) / (move @ change)
            slope = slope - weight * change
            weights.append(weight)
        if self.pairs:
            move, change = self.pairs[-1]
            slope = slope * (move @ change) / (change @ change)
        for (move, change), weight in zip(self.pairs, reversed(weights), strict=True):
            slope = slope + move * (weight - (change @ slope) / (move @ change))
        return slope

"""Gradient descent with momentum."""

from dataclasses import dataclass

import torch

from coincide.optimise.adam import TorchRun
from coincide.optimise.optimiser import Optimiser, Problem
from coincide.registry import named


@named("descent")
@dataclass(frozen=True)
class Descent(Optimiser):
    """Plain gradient descent on the parameters of any transform.

    Args:
        rate: Step as a multiple of the gradient, mm² for each unit of cost (> 0).
        momentum: Share of the last step that is kept, in [0, 1).
    """

    rate: float = 1.0
    momentum: float = 0.0

    def start(self, problem: Problem) -> TorchRun:
        """Begin on a level."""
        parameters = list(problem.transform.parameters())
        return TorchRun(problem, torch.optim.SGD(parameters, lr=self.rate, momentum=self.momentum))

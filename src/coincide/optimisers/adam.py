"""Adam: gradient descent whose step adapts to every parameter."""

from dataclasses import dataclass

import torch

from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.transforms.transform import Transform


@named("adam")
@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam on the parameters of any transform.

    Args:
        rate: Length of a typical step of one parameter, mm (> 0).
        beta1: Memory of the direction, in [0, 1).
        beta2: Memory of the size, in [0, 1).

    References:
        Kingma, Ba (2015), arXiv:1412.6980.
    """

    rate: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99

    def start(self, problem: Problem) -> "TorchRun":
        """Begin on a level."""
        parameters = problem.free()
        rule = torch.optim.Adam(parameters, lr=self.rate, betas=(self.beta1, self.beta2))
        return TorchRun(problem, rule)


class TorchRun(Run):
    """Any optimiser of torch.optim that needs one gradient a step."""

    def __init__(self, problem: Problem, rule: torch.optim.Optimizer):
        self.problem, self.rule = problem, rule

    def step(self) -> tuple[float, dict[str, float]]:
        """One gradient, one update."""
        # gradients of parameters add up from one backward pass to the next
        self.rule.zero_grad()
        cost, values = self.problem.cost()
        cost.backward()
        self.rule.step()
        return float(cost.detach()), values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        return self.problem.transform

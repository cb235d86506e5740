"""Annealed: Adam whose steps grow at first and shrink towards the end of a level."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

WARM = 20  # steps until the full rate is reached, or a fifth of all
LEFT = 0.02  # of the rate in the last step


class Annealed:
    """Adam with a linear rise and a cosine fall of its rate.

    Args:
        parameters: What is moved.
        rate: Largest step of a parameter, about, in its own unit.
        steps: How many will be made; 0: not known, and the rate stays after its rise.

    References:
        Loshchilov, Hutter (2017), arXiv:1608.03983.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], rate: float, steps: int):
        self.rule = torch.optim.Adam(parameters, lr=rate)
        self.rate, self.steps, self.made = rate, steps, 0

    def step(self, cost: Tensor) -> None:
        """One step down the gradient of a cost."""
        # gradients of parameters add up from one backward pass to the next
        self.rule.zero_grad()
        cost.backward()
        for group in self.rule.param_groups:
            group["lr"] = self.rate * share(self.made, self.steps)
        self.rule.step()
        self.made += 1


def share(made: int, steps: int) -> float:
    """Which part of its largest rate a step takes, after `made` of `steps`."""
    warm = WARM if not steps else max(1, min(WARM, steps // 5))
    if made < warm:
        return (made + 1) / warm
    if not steps:
        return 1.0
    gone = min(1.0, (made - warm) / max(1, steps - warm))
    return LEFT + (1 - LEFT) * (1 + math.cos(math.pi * gone)) / 2

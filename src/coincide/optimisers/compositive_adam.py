"""Compositive Adam: small smooth steps whose direction remembers and evens out the forces."""

from dataclasses import dataclass

import torch

from coincide.optimisers.compositive import Compositive, CompositiveRun
from coincide.optimisers.optimiser import Optimiser, Problem
from coincide.registry import named
from coincide.space.shapes import Field


@named("compositive_adam")
@dataclass(frozen=True)
class CompositiveAdam(Optimiser):
    r"""Greedy composition, as `compositive`, along Adam's direction instead of the force's.

    $$
    m \leftarrow \beta_1 m + (1 - \beta_1) w, \qquad
    v \leftarrow \beta_2 v + (1 - \beta_2) w^2, \qquad
    w' = \frac{\hat m}{\sqrt{\hat v} + \delta\, r}
    $$

    at every voxel and component, with the smoothed force $w$, the hats as in Adam and $r$ the root
    mean square of $w$. The longest step is bounded, unlike Adam's own. Weak forces gain; with a
    small $\delta$ also those that are noise.

    Args:
        step: Longest move of one update, voxels of the level (> 0).
        update: Standard deviation of the Gaussian on each update, voxels of the level.
        field: Standard deviation of the Gaussian on the whole field, voxels of the level.
        gradient: `warped` or `moving`, see `compositive`.
        beta1: Memory of the direction, in [0, 1).
        beta2: Memory of the size, in [0, 1).
        floor: The fraction $\delta$ of the mean force below which sizes are not evened out (> 0).

    References:
        Kingma, Ba (2015), arXiv:1412.6980; Jena et al. (2024), arXiv:2404.01249.
    """

    step: float = 0.5
    update: float = 2.0
    field: float = 1.0
    gradient: str = "warped"
    beta1: float = 0.5
    beta2: float = 0.99
    floor: float = 1.0

    def start(self, problem: Problem) -> CompositiveRun:
        """Begin on a level."""
        rule = Compositive(self.step, self.update, self.field, self.gradient)
        return CompositiveRun(rule, problem, _Moments(self), self.name)


class _Moments:
    """Means of the force and of its square."""

    def __init__(self, rule: CompositiveAdam):
        self.rule, self.count = rule, 0
        self.mean = self.square = torch.zeros(())

    def __call__(self, force: Field) -> Field:
        """The direction in which to go, in place of the force."""
        if not self.count:
            self.mean, self.square = torch.zeros_like(force), torch.zeros_like(force)
        self.count += 1
        # the size of the force is taken now, as its memory is written to below
        one, two, size = self.rule.beta1, self.rule.beta2, force.square().mean().sqrt()
        self.mean.lerp_(force, 1 - one)
        self.square.mul_(two).addcmul_(force, force, value=1 - two)
        # both means have taken up the force, whose memory may hold the direction
        torch.div(self.square, 1 - two**self.count, out=force)
        # never zero, where no force has ever been
        force.sqrt_().add_(self.rule.floor * size).clamp_min_(1e-30).reciprocal_()
        return force.mul_(self.mean).div_(1 - one**self.count)

"""Family: two networks learn many pairs of images, and an unseen pair by a few numbers."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from coincide.objective import Objective, Term
from coincide.objective import objective as read_objective
from coincide.optimisers.annealed import Annealed
from coincide.optimisers.both_ways import BothWays
from coincide.optimisers.cycle_sampled import CycleSampled
from coincide.optimisers.level import Level, halving
from coincide.optimisers.optimiser import Problem
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.transforms.cycle import Cycle
from coincide.transforms.family import Family

RULE = CycleSampled(points=2000, regularised=300, rate=0.002, beta=0.0, gamma=1.0)
LEVELS = (Level(None, 300, 0), Level(None, 200, 0))
ALONE = (Level(None, 40, 0), Level(None, 40, 0))
SHOWN = 3  # pairs that a step looks at
PRIOR = 1e-3  # weight of the squared length of a code
RATE = 0.02  # of a code that is found alone

Watching = Callable[[int, float], None]


def register_family(
    pairs: Sequence[tuple[Image, Image]],
    *,
    objective: str | Objective | Term = "ncc",
    rule: CycleSampled = RULE,
    levels: Sequence[Level] = LEVELS,
    family: Family | None = None,
    watch: Watching | None = None,
) -> Family:
    r"""Register many pairs by two networks and a code of few numbers for each pair.

    Each step looks at a few pairs, drawn at random, and lowers by all weights and by their codes z
    what `cycle_sampled` lowers for one, and $10^{-3} |z|^2$. By default maps are regularised by the
    gradient of there and back again alone, asked at few points, as in NePhi.

    Args:
        pairs: Fixed and moving image of each, aligned before, in one world.
        objective: What is minimised, of terms that can be asked at single points.
        rule: How many points, how fast, and how much there and back again counts.
        levels: Coarse to fine; of each its voxel size and number of steps.
        family: What is moved, in place; None: one of default size.
        watch: Called with the number and the cost of every step.

    Raises:
        ValueError: if there is no pair, or the family is one of another number of pairs.

    References:
        Tian et al. (2024), NePhi, arXiv:2309.07322.
    """
    if not pairs or (family is not None and family.count != len(pairs)):
        wanted = "one pair or more" if family is None else f"the {family.count} pairs of its codes"
        raise ValueError(f"a family is fitted to {wanted}, not to {len(pairs)}")
    made = Family(pairs[0][0].grid, len(pairs)) if family is None else family
    random = np.random.default_rng(rule.seed)
    generator = torch.Generator().manual_seed(rule.seed)
    done = 0
    for level in halving(levels, made.grid):
        asked = [_asked(made, pair, objective, rule, level) for pair in pairs]
        annealed = Annealed(list(made.parameters()), rule.rate, level.steps)
        for _ in range(level.steps):
            chosen = random.choice(len(pairs), min(SHOWN, len(pairs)), replace=False)
            costs = [
                asked[n].cost(made.both(made.codes[n]), rule.agreement, generator)[0]
                + PRIOR * made.codes[n].square().sum()
                for n in chosen
            ]
            cost = torch.stack(costs).mean()
            annealed.step(cost)
            done += 1
            if watch is not None:
                watch(done, float(cost.detach()))
    return made


def register_member(
    family: Family,
    fixed: Image,
    moving: Image,
    *,
    objective: str | Objective | Term = "ncc",
    rule: CycleSampled = RULE,
    levels: Sequence[Level] = ALONE,
    watch: Watching | None = None,
) -> Cycle:
    """Find an unseen pair in a family: its code alone is moved, the networks stay as they are.

    What comes back has weights of its own; where the pair differs from all that the family knows,
    `optimise` with `cycle_sampled` goes on from it by all weights.

    Args:
        family: Fitted.
        fixed: Image that stays, in the world of the family, aligned to the moving one as before.
        moving: Image that is mapped.
        objective: What is minimised.
        rule: How many points, and how much there and back again counts.
        levels: Coarse to fine; of each its voxel size and number of steps.
        watch: Called with the number and the cost of every step.

    Raises:
        ValueError: if the family has no codes.
    """
    if not family.latent:
        raise ValueError("this family has no numbers that make a pair; give it latent=8")
    code = family.codes.detach().mean(0).requires_grad_()
    generator = torch.Generator().manual_seed(rule.seed)
    done = 0
    for level in halving(levels, family.grid):
        asked = _asked(family, (fixed, moving), objective, rule, level)
        adam = torch.optim.Adam([code], lr=RATE)
        for _ in range(level.steps):
            cost, _ = asked.cost(family.both(code), rule.agreement, generator)
            cost = cost + PRIOR * code.square().sum()
            # of the code alone: the weights of the family gather no gradient
            (code.grad,) = torch.autograd.grad(cost, code)
            adam.step()
            done += 1
            if watch is not None:
                watch(done, float(cost.detach()))
    return family.at(code.detach())


def _asked(
    family: Family,
    pair: tuple[Image, Image],
    objective: str | Objective | Term,
    rule: CycleSampled,
    level: Level,
) -> BothWays:
    """A pair on a level, ready to be asked at points."""
    assert level.spacing is not None
    fixed, moving = (at(i, i.grid.shrink(i.grid.factors(level.spacing))) for i in pair)
    nothing = family.both(family.codes[0])[0]
    problem = Problem(fixed, moving, nothing, read_objective(objective), steps=level.steps)
    return BothWays(problem, rule.points, rule.regularised, "register_family")

"""Series: one network registers all images of a series to one of them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import Objective, Term
from coincide.objective import objective as read_objective
from coincide.optimisers.level import Level, halving
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.transforms.series import Series

LEVELS = (Level(None, 150, 0), Level(None, 100, 0))
FRAMES = 3  # images that a step looks at
RATE = 2e-3  # of Adam, on weights without a unit; it falls to a tenth as half a cosine
PROBED = 256  # places at which motion is looked at for its steadiness
APART = 0.02  # of the duration, between the three times that tell an acceleration


def register_series(
    images: Sequence[Image],
    times: Sequence[float],
    *,
    objective: str | Objective | Term = "ncc + 0.1*bending",
    reference: int = 0,
    steady: float = 1e-6,
    levels: Sequence[Level] = LEVELS,
    series: Series | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> Series:
    r"""Register every image of a series to its reference by one network of place and time.

    Each step looks at a few images, drawn at random, in one batch, and at random places and times
    for

    $$ w \, \big\langle | \partial_t^2 u |^2 \big\rangle $$

    with t from 0 to 1, so that motion is steady between the images as well.

    Args:
        images: All on grids of one world, such as a cine, or the phases of a dynamic study; an
            image whose contrast changes wants `ngf` or `mind_ssc`.
        times: When each was taken, in any unit.
        objective: What compares an image with the reference, with penalties.
        reference: Which image stays.
        steady: Weight w, per mm².
        levels: Coarse to fine; of each its voxel size and number of steps.
        series: What is moved, in place; None: one of default size.
        watch: Called with the number and the cost of every step.

    Raises:
        ValueError: if there are not as many times as images, fewer than two images, or no such
            reference.
    """
    if len(images) != len(times) or len(images) < 2 or not 0 <= reference < len(images):
        raise ValueError(
            f"a series has two images or more, a time for each and one of them as reference, not "
            f"{len(images)} images, {len(times)} times and reference {reference}"
        )
    fixed = images[reference]
    whole = (float(min(times)), float(max(times)))
    made = Series(fixed.grid, whole, float(times[reference])) if series is None else series
    rule = torch.optim.Adam(made.parameters(), lr=RATE)
    cost_of, random = read_objective(objective), np.random.default_rng(0)
    terms = cost_of.similarities
    others = [n for n in range(len(images)) if n != reference]
    plan = halving(levels, fixed.grid)
    total, done = sum(level.steps for level in plan), 0
    for level in plan:
        assert level.spacing is not None
        coarse = [at(i, i.grid.shrink(i.grid.factors(level.spacing))) for i in images]
        known = {
            n: {term: term.prepared(coarse[reference], coarse[n]) for _, term in terms}
            for n in others
        }
        for _ in range(level.steps):
            rule.param_groups[0]["lr"] = RATE * (0.55 + 0.45 * np.cos(np.pi * done / total))
            chosen = random.choice(others, min(FRAMES, len(others)), replace=False).tolist()
            costs = []
            for group in _alike(chosen, coarse):
                pairs = _stacked([coarse[n] for n in group])
                prepared = {}
                for _, term in terms:
                    ones, shown = zip(*(known[n][term] for n in group), strict=True)
                    plain = all(o is coarse[n] for n, o in zip(group, shown, strict=True))
                    # what has no features of its own is warped once for all terms
                    prepared[term] = _stacked(ones), pairs if plain else _stacked(shown)
                moments = made.at(torch.tensor([float(times[n]) for n in group]))
                found = Alignment(coarse[reference], pairs, moments, prepared=prepared)
                costs.append(len(group) / len(chosen) * cost_of(found)[0])
            cost = torch.stack(costs).sum()
            if steady:
                cost = cost + steady * acceleration(made, fixed, random)
            rule.zero_grad()
            cost.backward()
            rule.step()
            done += 1
            if watch is not None:
                watch(done, float(cost.detach()))
    return made


def acceleration(series: Series, image: Image, random: np.random.Generator) -> Tensor:
    """Mean squared second derivative of the displacement by the share of the duration, mm²."""
    index = random.uniform(0, np.array(image.grid.shape) - 1, (PROBED, image.dim))
    points = torch.as_tensor(image.grid.to_world(index), dtype=torch.float32)[None]
    points = points.to(series.network.last.weight.device)
    first, last = series.times
    time = float(random.uniform(APART, 1 - APART))
    before, now, after = (
        series.shift(points, first + (time + step) * (last - first)) for step in (-APART, 0, APART)
    )
    return ((after - 2 * now + before) / APART**2).square().sum(-1).mean()


def _alike(chosen: Sequence[int], images: Sequence[Image]) -> list[list[int]]:
    """Numbers of images that lie on one grid, and so make a batch."""
    groups: list[list[int]] = []
    for n in chosen:
        for group in groups:
            if images[group[0]].grid == images[n].grid:
                group.append(n)
                break
        else:
            groups.append([n])
    return groups


def _stacked(images: Sequence[Image]) -> Image:
    """Images of one grid as a batch."""
    first = images[0]
    mask = None
    if any(image.mask is not None for image in images):
        mask = torch.cat([image.weight() for image in images])
    return Image(torch.cat([image.data for image in images]), first.grid, mask)

"""Linear registration from nothing: many starts at a coarse level, the best refined."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from coincide.initialise.content import Content
from coincide.initialise.rotations import angle
from coincide.initialise.starts import Start, moments, starts
from coincide.kernels.warp import warp
from coincide.objective import Objective, Similarity
from coincide.optimise.lbfgs import LBFGS
from coincide.optimise.loop import optimise
from coincide.registration import Candidate, Step
from coincide.similarities.nmi import NMI
from coincide.space.image import Image
from coincide.space.pyramid import Level, at
from coincide.transforms.linear import Affine, Linear, Rigid, SimilarityTransform

COARSE = 22  # voxels across the content on the coarsest level
LARGEST = 700_000  # voxels on the finest level
KEPT = 6  # starts refined on the coarsest level
APART = 20.0  # degrees between starts that count as different


@dataclass(frozen=True, eq=False)
class Aligned:
    """What `align` returns.

    Args:
        transform: The best linear map.
        candidates: Every start tried, best first, with the cost after refinement if refined.
        margin: Cost of the best different candidate minus that of the winner.
        history: Optimiser steps of the winner.
    """

    transform: Linear
    candidates: tuple[Candidate, ...]
    margin: float
    history: tuple[Step, ...]


def align(
    fixed: Content,
    moving: Content,
    *,
    kind: str = "affine",
    cost: Similarity | None = None,
    rotations: int = 300,
    watch: Callable[[Step], None] | None = None,
) -> Aligned:
    """Find a rigid or affine map without knowing where to start.

    Every start is scored by the similarity at a coarse level; the best few that differ by more
    than 20 degrees are refined, the two best of these on the next level, the winner to the end.

    Args:
        fixed: Content of the fixed image.
        moving: Content of the moving image.
        kind: `rigid` or `affine`.
        cost: Similarity; None: normalised mutual information.
        rotations: Number of orientations tried; 0: only header, centres and principal axes.
        watch: Called after every optimiser step.
    """
    cost = NMI() if cost is None else cost
    spacings = _spacings(fixed)
    tried = _scored(fixed, moving, spacings[0], kind, cost, rotations)
    free = SimilarityTransform if kind == "affine" else Rigid
    steps: list[Step] = []
    refined = []
    for _, start in _different(tried):
        result, last = _refine(fixed, moving, free(start.matrix), spacings[0], 30, cost, watch)
        refined.append((last, start, result[0]))
        steps.extend(result[1])
    refined.sort(key=lambda entry: entry[0])
    second = spacings[min(1, len(spacings) - 1)]
    finalists = []
    for _, start, transform in refined[:2]:
        result, last = _refine(fixed, moving, transform, second, 30, cost, watch)
        finalists.append((last, start, result[0]))
        steps.extend(result[1])
    finalists.sort(key=lambda entry: entry[0])
    transform = finalists[0][2]
    margin = _margin(finalists, refined)
    final = Affine if kind == "affine" else Rigid
    for spacing in spacings[1:] or spacings:
        matrix = transform.numpy()
        result, _ = _refine(fixed, moving, final(matrix), spacing, 60, cost, watch)
        transform = result[0]
        steps.extend(result[1])
    improved = {start.name: value for value, start, _ in refined}
    improved |= {start.name: value for value, start, _ in finalists[:1]}
    candidates = sorted(
        (Candidate(start.name, improved.get(start.name, value)) for value, start in tried),
        key=lambda c: c.cost,
    )
    return Aligned(transform, tuple(candidates), margin, tuple(steps))


def _spacings(fixed: Content) -> list[float]:
    """Voxel sizes of the levels, mm, coarse to fine."""
    grid = fixed.image.grid
    axes = np.array(grid.shape) > 1
    extent = float(np.exp(np.log(grid.extent[axes]).mean()))
    base = float(grid.spacing[axes].min())
    spacing = max(extent / COARSE, base)
    found = [spacing]
    while spacing / 2 >= 0.9 * base:
        spacing /= 2
        shape = np.ceil(np.array(grid.shape) / np.array(grid.factors(spacing)))
        if np.prod(shape) > LARGEST:
            break
        found.append(spacing)
    return found


def _coarse(content: Content, spacing: float) -> Image:
    grid = content.image.grid
    return at(content.image, grid.shrink(grid.factors(spacing)))


def _scored(
    fixed: Content, moving: Content, spacing: float, kind: str, cost: Similarity, count: int
) -> list[tuple[float, Start]]:
    f, m = _coarse(fixed, spacing), _coarse(moving, spacing)
    prepared_f, prepared_m = cost.prepare(f), cost.prepare(m)
    everything = starts(
        fixed.image,
        moving.image,
        moments(fixed.image, fixed.inside),
        moments(moving.image, moving.inside),
        count=count,
        scale=kind == "affine",
    )
    scored = []
    for start in everything:
        index = (m.grid.inverse @ start.matrix @ f.grid.affine)[:-1]
        data, valid = warp(prepared_m.data, None, index, index[:, :-1], shape=f.grid.shape)
        if f.mask is not None:
            valid = valid * f.mask
        overlap = float(valid.mean())
        warped = prepared_f.with_data(data).with_mask(valid)
        value = float(cost.compare(prepared_f, warped)) if overlap > 0.02 else 2.0
        # little overlap makes chance agreement likely
        scored.append((value + max(0.0, 0.5 - overlap), start))
    return sorted(scored, key=lambda entry: entry[0])


def _different(scored: list[tuple[float, Start]]) -> list[tuple[float, Start]]:
    chosen: list[tuple[float, Start]] = []
    for value, start in scored:
        turn = _rotation(start.matrix)
        if all(angle(turn, _rotation(other.matrix)) > APART for _, other in chosen):
            chosen.append((value, start))
        if len(chosen) == KEPT:
            break
    header = next((entry for entry in scored if entry[1].name == "header"), None)
    if header is not None and all(start.name != "header" for _, start in chosen):
        chosen.append(header)
    return chosen


def _rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(matrix[:-1, :-1])
    return u @ v


def _refine(
    fixed: Content,
    moving: Content,
    transform: Linear,
    spacing: float,
    steps: int,
    cost: Similarity,
    watch: Callable[[Step], None] | None,
) -> tuple[tuple[Linear, tuple[Step, ...]], float]:
    result = optimise(
        _coarse(fixed, spacing),
        _coarse(moving, spacing),
        transform,
        cost=Objective(((1.0, cost),)),
        optimiser=LBFGS(first=spacing / 4),
        levels=(Level(0.0, steps, 0.005, 4),),
        stage=transform.name,  # type: ignore[arg-type]
        watch=watch,
    )
    assert isinstance(result.transform, Linear)
    history = tuple(replace(step, level=round(spacing)) for step in result.history)
    return (result.transform, history), min(step.cost for step in result.history)


def _margin(finalists: list, refined: list) -> float:
    best = _rotation(finalists[0][2].numpy())
    rivals = [
        value
        for value, _, transform in [*refined[2:], *finalists[1:]]
        if angle(best, _rotation(transform.numpy())) > APART
    ]
    return min(rivals) - finalists[0][0] if rivals else float(torch.inf)

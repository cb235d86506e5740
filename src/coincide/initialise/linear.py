"""Linear registration from nothing: many starts at a coarse level, the best refined."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from coincide.initialise.content import Content
from coincide.initialise.rotations import angle
from coincide.initialise.starts import Start, moments, starts
from coincide.initialise.stretch import Stretch, stretch
from coincide.kernels.warp import warp
from coincide.objective import Objective, Similarity
from coincide.optimise.lbfgs import LBFGS
from coincide.optimise.loop import optimise
from coincide.registration import Candidate, Step
from coincide.similarities.ngf import NGF
from coincide.similarities.nmi import NMI
from coincide.space.image import Image
from coincide.space.pyramid import Level, at
from coincide.transforms.linear import Affine, Linear, Rigid, SimilarityTransform

COARSE = 22  # voxels across the content on the coarsest level
LARGEST = 1_000_000  # voxels on the finest level
KEPT = 6  # starts refined on the coarsest level
STIFFNESS = 0.05  # weight of the stretch of the map beside the similarity
EDGES = 3.0  # weight of the edges beside the similarity, on the finest level
BELIEF = 0.02  # cost by which another orientation must be better than that of the header
APART = 20.0  # degrees between starts that count as different
PLACES = 3  # positions refined of those that keep the orientation of the header
ELSEWHERE = 0.15  # share of the size of the content between positions that count as different


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

    Every start is scored by the similarity at a coarse level. The best few that differ by more
    than 20 degrees are refined, and some that keep the orientation of the header but lie apart;
    the two best of these on the next level, the winner to the end, where edges sharpen what
    histograms leave open.

    Args:
        fixed: Content of the fixed image.
        moving: Content of the moving image.
        kind: `rigid` or `affine`.
        cost: Similarity; None: normalised mutual information.
        rotations: Number of orientations tried; 0: only header, centres and principal axes.
        watch: Called after every optimiser step.
    """
    cost = NMI() if cost is None else cost
    target = cost + STIFFNESS * Stretch()
    spacings = _spacings(fixed)
    pairs = {s: (_coarse(fixed, s), _coarse(moving, s)) for s in spacings}
    tried = _scored(fixed, moving, pairs[spacings[0]], kind, cost, rotations)
    free = SimilarityTransform if kind == "affine" else Rigid
    first, second = spacings[0], spacings[min(1, len(spacings) - 1)]
    refined = [
        _refine(pairs, _Trial(start, free(start.matrix)), first, 30, target, watch)
        for _, start in _different(tried, fixed)
    ]
    refined.sort(key=_Trial.doubtful)
    leader = refined[0].transform.numpy()
    rivals = [t for t in refined if _apart(t.transform.numpy(), leader, fixed)]
    finalists = [
        _refine(pairs, trial, second, 30, target, watch) for trial in (refined[0], *rivals[:1])
    ]
    finalists.sort(key=_Trial.doubtful)
    margin = _margin(finalists, rivals[1:])
    final = Affine if kind == "affine" else Rigid
    winner = replace(finalists[0], transform=final(finalists[0].transform.numpy()))
    for spacing in spacings[1:-1]:
        winner = _refine(pairs, winner, spacing, 60, target, watch)
    winner = _refine(pairs, winner, spacings[-1], 60, target + EDGES * NGF(), watch)
    improved = {trial.start.name: trial.cost for trial in (*refined, finalists[0])}
    candidates = sorted(
        (Candidate(start.name, improved.get(start.name, value)) for value, start in tried),
        key=lambda c: c.cost,
    )
    return Aligned(winner.transform, tuple(candidates), margin, winner.history)


@dataclass(frozen=True, eq=False)
class _Trial:
    """A start, what became of it, its lowest cost on the last level, and all its steps."""

    start: Start
    transform: Linear
    cost: float = float("inf")
    history: tuple[Step, ...] = ()

    def doubtful(self) -> float:
        """The cost; where two are almost equal, the orientation of the header is believed."""
        return self.cost - BELIEF if _upright(self.start) else self.cost


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
    fixed: Content,
    moving: Content,
    coarse: tuple[Image, Image],
    kind: str,
    cost: Similarity,
    count: int,
) -> list[tuple[float, Start]]:
    f, m = coarse
    prepared_f, prepared_m = cost.prepare(f), cost.prepare(m)
    everything = starts(
        fixed.image,
        moving.image,
        moments(fixed.image, fixed.inside),
        moments(moving.image, moving.inside),
        count=count,
        scale=kind == "affine",
    )
    # what overlaps is counted against the smaller of the two contents
    sizes = [abs(np.linalg.det(i.grid.affine)) * np.prod(i.grid.shape) for i in coarse]
    share = sizes[0] / min(sizes)
    scored = []
    for start in everything:
        index = (m.grid.inverse @ start.matrix @ f.grid.affine)[:-1]
        data, valid = warp(prepared_m.data, None, index, index[:, :-1], shape=f.grid.shape)
        if f.mask is not None:
            valid = valid * f.mask
        overlap = float(valid.mean()) * share
        warped = prepared_f.with_data(data).with_mask(valid)
        value = float(cost.compare(prepared_f, warped)) if overlap > 0.02 else 2.0
        # little overlap makes chance agreement likely
        value += max(0.0, 0.5 - overlap)
        strain = float(stretch(torch.as_tensor(start.matrix[None, :-1, :-1])))
        scored.append((value + STIFFNESS * strain, start))
    return sorted(scored, key=lambda entry: entry[0])


def _different(scored: list[tuple[float, Start]], fixed: Content) -> list[tuple[float, Start]]:
    chosen: list[tuple[float, Start]] = []
    for value, start in scored:
        turn = _rotation(start.matrix)
        if all(angle(turn, _rotation(other.matrix)) > APART for _, other in chosen):
            chosen.append((value, start))
        if len(chosen) == KEPT:
            break
    # what the header says of the orientation always has its chance, and where one image shows
    # less than the other, so have several positions; and what it says of the position too
    kept = [start.matrix for _, start in chosen if _upright(start)]
    for value, start in scored:
        if len(kept) >= PLACES:
            break
        if _upright(start) and all(_apart(start.matrix, other, fixed) for other in kept):
            kept.append(start.matrix)
            chosen.append((value, start))
    entry = next((entry for entry in scored if entry[1].name == "header"), None)
    if entry is not None and entry not in chosen:
        chosen.append(entry)
    return chosen


def _apart(one: np.ndarray, other: np.ndarray, fixed: Content) -> bool:
    """Whether two maps turn the content of the fixed image differently, or put it elsewhere."""
    grid = fixed.image.grid
    reach = ELSEWHERE * float(np.linalg.norm(grid.extent)) / grid.dim**0.5
    moved = (one - other) @ np.append(grid.centre, 1.0)
    return angle(_rotation(one), _rotation(other)) > APART or float(np.linalg.norm(moved)) > reach


def _upright(start: Start) -> bool:
    turn = _rotation(start.matrix)
    return angle(turn, np.eye(len(turn))) <= APART


def _rotation(matrix: np.ndarray) -> np.ndarray:
    u, _, v = np.linalg.svd(matrix[:-1, :-1])
    return u @ v


def _refine(
    pairs: dict[float, tuple[Image, Image]],
    trial: _Trial,
    spacing: float,
    steps: int,
    target: Objective,
    watch: Callable[[Step], None] | None,
) -> _Trial:
    result = optimise(
        *pairs[spacing],
        trial.transform,
        cost=target,
        optimiser=LBFGS(first=spacing / 4, longest=2 * spacing),
        levels=(Level(0.0, steps, 0.005, 4),),
        stage=trial.transform.name,  # type: ignore[arg-type]
        watch=watch,
    )
    assert isinstance(result.transform, Linear)
    history = tuple(replace(step, level=round(spacing)) for step in result.history)
    cost = min(step.cost for step in history)
    return _Trial(trial.start, result.transform, cost, trial.history + history)


def _margin(finalists: list[_Trial], others: list[_Trial]) -> float:
    best = _rotation(finalists[0].transform.numpy())
    rivals = [
        trial.cost
        for trial in [*others, *finalists[1:]]
        if angle(best, _rotation(trial.transform.numpy())) > APART
    ]
    return min(rivals) - finalists[0].cost if rivals else float(torch.inf)

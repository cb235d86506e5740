"""Linear registration: from nothing by many starts at a coarse level, or from one that is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from coincide.foreground import Foreground
from coincide.initialise.rotations import angle
from coincide.initialise.starts import Start, moments, starts
from coincide.initialise.stretch import Stretch, stretch
from coincide.kernels.warp import warp
from coincide.objective import Objective, Similarity
from coincide.optimisers.lbfgs import LBFGS
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registration import Candidate, Step
from coincide.similarities.ngf import NGF
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.transforms.linear import Affine, Linear, Rigid, SimilarityTransform, Translation
from coincide.way import Watch

COARSE = 22  # voxels across the foreground on the coarsest level
LARGEST = 1_000_000  # voxels on the finest level
KEPT = 6  # starts refined on the coarsest level
STIFFNESS = 0.05  # weight of the stretch of the map beside the similarity
EDGES = 3.0  # weight of the edges beside the similarity, on the finest level
BELIEF = 0.02  # cost by which another orientation must be better than that of the header
APART = 20.0  # degrees between starts that count as different
PLACES = 3  # positions refined of those that keep the orientation of the header
ELSEWHERE = 0.15  # share of the size of the foreground between positions that count as different
RIVAL = 15.0, 10.0  # degrees, or mm at the foreground, from which an answer is another one

# what is moved while it is not known whether the start is near, and what at the end
FREEDOM: dict[str, tuple[type[Linear], type[Linear]]] = {
    "translation": (Translation, Translation),
    "rigid": (Rigid, Rigid),
    "similarity": (SimilarityTransform, SimilarityTransform),
    "affine": (SimilarityTransform, Affine),
}


@dataclass(frozen=True, eq=False)
class Trial:
    """A start, what became of it, its lowest cost on the last level, and all its steps."""

    start: Start
    transform: Linear
    cost: float = float("inf")
    history: tuple[Step, ...] = ()

    def doubtful(self) -> float:
        """The cost; where two are almost equal, the orientation of the header is believed."""
        return self.cost - BELIEF if _upright(self.start) else self.cost


@dataclass(frozen=True, eq=False)
class Levels:
    """The two foregrounds on every level, and what is minimised there.

    Args:
        fixed: Foreground of the fixed image.
        moving: Foreground of the moving image.
        cost: Similarity.
        watch: Called after every optimiser step.
    """

    fixed: Foreground
    moving: Foreground
    cost: Similarity
    watch: Watch | None = None

    @cached_property
    def spacings(self) -> list[float]:
        """Voxel sizes, mm, coarse to fine."""
        return _spacings(self.fixed)

    @cached_property
    def pairs(self) -> dict[float, tuple[Image, Image]]:
        """Both images on the level of each voxel size."""
        return {s: (_coarse(self.fixed, s), _coarse(self.moving, s)) for s in self.spacings}

    def refined(
        self, trial: Trial, spacing: float, steps: int, extra: Objective | None = None
    ) -> Trial:
        """The trial after some steps on the level of that voxel size."""
        target = self.cost + STIFFNESS * Stretch()
        fixed, moving = self.pairs[spacing]
        result = optimise(
            fixed,
            moving,
            trial.transform,
            objective=target if extra is None else target + extra,
            # bounded by the voxel: far away a coarse level may have a low cost by chance
            optimiser=LBFGS(first=spacing / 4, longest=2 * spacing),
            levels=(Level(0.0, steps, tolerance=0.005, window=4),),
            watch=self.watch,
        )
        assert isinstance(result.transform, Linear)
        history = tuple(replace(step, level=round(spacing)) for step in result.history)
        cost = min(step.cost for step in history)
        return Trial(trial.start, result.transform, cost, trial.history + history)

    def finished(self, trial: Trial, final: type[Linear]) -> Trial:
        """The trial with all freedom, on all levels but the coarsest.

        On the finest level edges decide what histograms leave open.
        """
        trial = replace(trial, transform=final(trial.transform.numpy()))
        for spacing in self.spacings[1:-1]:
            trial = self.refined(trial, spacing, 60)
        return self.refined(trial, self.spacings[-1], 60, EDGES * NGF())


def searched(levels: Levels, kind: str, rotations: int) -> tuple[Trial, list[Candidate], float]:
    """Find a linear map without knowing where to start.

    Every start is scored by the similarity at a coarse level. The best few that differ by more
    than 20 degrees are refined, and some that keep the orientation of the header but lie apart;
    the two best of these on the next level, the winner to the end.

    Args:
        levels: The images.
        kind: A key of `FREEDOM`.
        rotations: Number of orientations tried; 0: only header, centres and principal axes.

    Returns:
        The winner; every start, best first, by its cost on the coarsest level; the margin: by how
        much a different answer would have cost more, on one and the same level, inf without one.
    """
    first, second = levels.spacings[0], levels.spacings[min(1, len(levels.spacings) - 1)]
    tried = _scored(levels, kind, rotations)
    free, final = FREEDOM[kind]
    refined = [
        levels.refined(Trial(start, free(start.matrix)), first, 30)
        for _, start in _different(tried, levels.fixed)
    ]
    refined.sort(key=Trial.doubtful)
    leader = refined[0].transform.numpy()
    rivals = [t for t in refined if _apart(t.transform.numpy(), leader, levels.fixed)]
    finalists = [levels.refined(trial, second, 30) for trial in (refined[0], *rivals[:1])]
    finalists.sort(key=Trial.doubtful)
    chosen = finalists[0].start.name
    # costs of different levels, or of steps more or less, cannot be compared: each with its like
    margin = min(
        _margin(finalists, chosen, levels.fixed),
        _margin(refined, chosen, levels.fixed, but=[t.start.name for t in finalists]),
    )
    improved = {trial.start.name: trial.cost for trial in refined}
    candidates = [
        Candidate(s.name, improved.get(s.name, value), s.name in improved, s.name == chosen)
        for value, s in tried
    ]
    candidates.sort(key=lambda c: (not c.chosen, not c.refined, c.cost))
    return levels.finished(finalists[0], final), candidates, margin


def _spacings(fixed: Foreground) -> list[float]:
    """Voxel sizes of the levels, mm, coarse to fine."""
    grid = fixed.image.grid
    axes = np.array(grid.shape) > 1
    # the geometric mean, so that a thin slab is not taken for a small image
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


def _coarse(found: Foreground, spacing: float) -> Image:
    grid = found.image.grid
    return at(found.image, grid.shrink(grid.factors(spacing)))


def _scored(levels: Levels, kind: str, count: int) -> list[tuple[float, Start]]:
    """Cost of every start on the coarsest level, and the start; best first."""
    cost = levels.cost
    f, m = levels.pairs[levels.spacings[0]]
    prepared_f, prepared_m = cost.prepared(f, m)
    fixed, moving = levels.fixed, levels.moving
    everything = starts(
        fixed.image,
        moving.image,
        moments(fixed.image, fixed.mask),
        moments(moving.image, moving.mask),
        count=count,
        scale=kind in ("similarity", "affine"),
    )
    if kind == "translation":  # it keeps the orientation and the size that it is given
        everything = [s for s in everything if np.allclose(s.matrix[:-1, :-1], np.eye(f.dim))]
    # what overlaps is counted against the smaller of the two contents
    sizes = [abs(np.linalg.det(i.grid.affine)) * np.prod(i.grid.shape) for i in (f, m)]
    share = sizes[0] / min(sizes)
    scored = []
    for start in everything:
        index = (m.grid.inverse @ start.matrix @ f.grid.affine)[:-1]
        data, valid = warp(prepared_m.data, None, index, index[:, :-1], shape=f.grid.shape)
        if f.mask is not None:
            valid = valid * f.mask
        overlap = float(valid.mean()) * share
        warped = prepared_f.with_data(data).with_mask(valid)
        # worse than any score: hardly anything is compared
        value = float(cost.compare(prepared_f, warped)) if overlap > 0.02 else 2.0
        # little overlap makes chance agreement likely
        value += max(0.0, 0.5 - overlap)
        strain = float(stretch(torch.as_tensor(start.matrix[None, :-1, :-1])))
        scored.append((value + STIFFNESS * strain, start))
    return sorted(scored, key=lambda entry: entry[0])


def _different(scored: list[tuple[float, Start]], fixed: Foreground) -> list[tuple[float, Start]]:
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


def _apart(one: np.ndarray, other: np.ndarray, fixed: Foreground) -> bool:
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
    # polar decomposition: the rotation that is nearest to the linear part
    return u @ v


def _margin(
    trials: Sequence[Trial], chosen: str, fixed: Foreground, but: Sequence[str] = ()
) -> float:
    """By how much the best different answer among trials of one level costs more than the chosen.

    Args:
        trials: Refined on the same level by as many steps.
        chosen: Name of the start of the winner.
        fixed: Foreground, at which distances count.
        but: Names of starts that are judged elsewhere.
    """
    best = next(trial for trial in trials if trial.start.name == chosen)
    here = best.transform.numpy()
    rivals = [
        trial.cost
        for trial in trials
        if trial.start.name not in but and different(trial.transform.numpy(), here, fixed)
    ]
    return min(rivals) - best.cost if rivals else float("inf")


def different(one: np.ndarray, other: np.ndarray, fixed: Foreground) -> bool:
    """Whether two answers are not the same one, but for the accuracy of a coarse level.

    Args:
        one: (D+1, D+1), mm.
        other: The same.
        fixed: Foreground, at which distances count.
    """
    degrees, distance = RIVAL
    if angle(_rotation(one), _rotation(other)) > degrees:
        return True
    where = torch.nonzero(fixed.mask[0, 0] > 0).double().numpy()
    centre = fixed.image.grid.to_world(where.mean(0))
    return float(np.linalg.norm((one - other) @ np.append(centre, 1.0))) > distance

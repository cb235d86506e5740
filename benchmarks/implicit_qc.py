"""QC: does the uncertainty of two networks know which fits have failed?

Failed, said beforehand: on the lung a mean of ten landmarks above 3 mm, on phantoms of 48³ voxels
of 1 mm a mean error above half a voxel. AUROC with an interval of 95 % by drawing the fits anew,
beside that of shuffled failures.
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from implicit_rows import Folders, Row, Spent, alone, rounded
from implicit_starts import FAILED, cycle

from coincide.alignment import pulled
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.space.image import Image
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import centred
from coincide.synthetic.waves import smooth
from coincide.transforms.transform import Transform

SIDE, PEAK, SIGMA = 48, 12.0, 20.0  # voxels of 1 mm; of the known displacement, mm
COARSE = 0.5  # mm, error above which a fit of a phantom has failed
TEXTURES = {"fine": (2.0, 4.0), "aliased": (2.0,)}  # mm, correlation lengths
PHANTOMS, STEPS, POINTS, DRAWS = 12, 150, 600, 2000
DOUBTED = 3000  # places where uncertainty is asked


def phantom(texture: str, seed: int, side: int = SIDE) -> tuple[Image, Image, Transform]:
    """Fixed and moving image and the displacement between them."""
    grid, random = centred((side,) * 3, 1.0), np.random.default_rng(seed)
    drawn = [smooth(grid, sigma=s, channels=1, random=random) for s in TEXTURES[texture]]
    moving = Image(torch.from_numpy(np.sum(drawn, 0))[None].float(), grid)
    truth = smooth_displacement(grid, peak=PEAK * side / SIDE, sigma=SIGMA, seed=seed)
    truth.requires_grad_(False)
    return pulled(moving, truth, grid).with_mask(None), moving, truth


def told_of(texture: str, seed: int, beta: float, **kinds: int) -> tuple[float, float]:
    """Mean error and mean uncertainty of a fit of a phantom, mm."""
    fixed, moving, truth = phantom(texture, seed, kinds.get("side", SIDE))
    transform, rule, wanted = cycle(seed, beta=beta, points=kinds.get("points", POINTS))
    level = Level(0.0, kinds.get("steps", STEPS), 0, objective=wanted, optimiser=rule)
    found: Any = optimise(fixed, moving, transform, levels=(level,)).transform
    with torch.no_grad():
        gap = found.displacement(fixed.grid) - truth.displacement(fixed.grid)
        points = fixed.grid.points(torch.float32)
        doubt = found.uncertainty(points[:, :: max(1, points.shape[1] // DOUBTED)]).mean()
    return float(gap.norm(dim=1).mean()), float(doubt)


def _phantoms(folders: Folders, *, texture: str, beta: float) -> dict[str, Any]:  # noqa: ARG001
    with Spent() as spent:
        found = [told_of(texture, seed, beta) for seed in range(PHANTOMS)]
    return _told([e for e, _ in found], [u for _, u in found], COARSE) | spent.told()


def _lung(folders: Folders, *, row: str) -> dict[str, Any]:
    """What `starts` has found of these fits."""
    found = alone("starts", row, folders)
    return _told(found["each seed, mm"], found["uncertainty, mm"], FAILED)


def _told(errors: list[float], doubts: list[float], limit: float) -> dict[str, Any]:
    failed = [error > limit for error in errors]
    return {
        "failed": f"{sum(failed)} of {len(failed)}",
        "errors, mm": rounded(errors, 4),
        "uncertainties, mm": rounded(doubts, 4),
        "limit, mm": limit,
    }


ROWS: dict[str, Row] = {
    "lung, must agree": partial(_lung, row="two networks that must agree"),
    "lung, need not": partial(_lung, row="two that need not"),
    "fine, must agree": partial(_phantoms, texture="fine", beta=0.001),
    "fine, need not": partial(_phantoms, texture="fine", beta=0.0),
    "aliased, must agree": partial(_phantoms, texture="aliased", beta=0.001),
    "aliased, need not": partial(_phantoms, texture="aliased", beta=0.0),
}


def auroc(scores: np.ndarray, failed: np.ndarray) -> float:
    """How often a failed fit has the higher score of two; NaN without both kinds."""
    good, bad = scores[~failed], scores[failed]
    if not len(good) or not len(bad):
        return float("nan")
    gap = bad[:, None] - good[None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def judged(scores: np.ndarray, failed: np.ndarray, draws: int = DRAWS) -> dict[str, Any]:
    """AUROC, its interval, and what shuffled failures give."""
    random = np.random.default_rng(0)
    picked = random.integers(0, len(scores), (draws, len(scores)))
    again = [auroc(scores[chosen], failed[chosen]) for chosen in picked]
    shuffled = [auroc(scores, random.permutation(failed)) for _ in range(draws)]
    low, high = np.nanpercentile(again, (2.5, 97.5)) if np.isfinite(again).any() else (np.nan,) * 2
    return {
        "failed": f"{failed.sum()} of {len(failed)}",
        "AUROC": round(auroc(scores, failed), 3),
        "95 %": f"{low:.2f} to {high:.2f}",
        "shuffled": round(float(np.nanmean(shuffled)), 2) if failed.any() else float("nan"),
    }


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows, then the judgement of groups of them."""
    groups = {
        "all": list(rows),
        "all that must agree": [row for row in rows if "must" in row],
        "all that need not": [row for row in rows if "need" in row],
        "lung": [row for row in rows if "lung" in row],
        "phantoms": [row for row in rows if "lung" not in row],
        "phantoms that must agree": [r for r in rows if "lung" not in r and "must" in r],
    }
    judgements = {}
    for name, members in groups.items():
        if members:
            scores = np.concatenate([rows[row]["uncertainties, mm"] for row in members])
            limits = [np.array(rows[r]["errors, mm"]) > rows[r]["limit, mm"] for r in members]
            judgements[name] = judged(scores, np.concatenate(limits))
    return rows | judgements

"""Series: a dynamic study under known motion, by one network and frame by frame.

Every second phase of the study is taken, real, contrast agent and all; each is moved by a known
smooth deformation that comes and goes with time, so that the truth is known up to what the patient
has moved.
"""

import json
from functools import partial
from typing import Any

import numpy as np
import torch
from implicit_rows import Folders, Row, Spent

import coincide as co
from coincide.alignment import pulled
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.optimisers.series import register_series
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.synthetic.deformations import smooth_displacement
from coincide.transforms.displacement import Displacement
from coincide.transforms.series import Series
from coincide.transforms.transform import Transform

PEAK, SIGMA, SPACING = 8.0, 30.0, 4.0  # mm
WANTED = "ngf + 0.3*bending"
STEPS = (80, 40)
EVERY = 2  # of the phases, one is taken
COUNT = 5000  # points at which errors are taken


def moved(frames: list[Image], times: np.ndarray) -> tuple[list[Image], list[Transform]]:
    """Frames under a motion that is nothing at the first time, and the motion."""
    grid = frames[0].grid
    whole = [smooth_displacement(grid, peak=PEAK, sigma=SIGMA, seed=s).field for s in (1, 2)]
    share = (times - times[0]) / (times[-1] - times[0])
    found, truths = [], []
    for frame, t in zip(frames, share, strict=True):
        bent = np.sin(np.pi * t) * whole[0] + 0.6 * np.sin(2 * np.pi * t) * whole[1]
        truth = Displacement(field=bent.detach().float(), grid=grid).requires_grad_(False)
        found.append(pulled(frame, truth, grid).with_mask(None))
        truths.append(truth)
    return found, truths


def together(frames: list[Image], times: np.ndarray, steps: tuple[int, int]) -> list[Transform]:
    """One network for all; its weights are what is kept."""
    plan = tuple(Level(None, count, 0) for count in steps)
    series = Series(frames[0].grid, (float(times[0]), float(times[-1])), float(times[0]))
    register_series(frames, times.tolist(), objective=WANTED, levels=plan, series=series)
    return [series.at(float(t)) for t in times]


def each(frames: list[Image], times: np.ndarray, steps: tuple[int, int]) -> list[Transform]:
    """A B-spline for every frame but the first."""
    plan = tuple(Level(None, count // 2, 0) for count in steps)
    found: list[Transform] = [co.build("bspline(spacing=12.0)").on(frames[0].grid)]
    for frame in frames[1 : len(times)]:
        part = co.build("bspline(spacing=12.0)")
        found.append(
            optimise(
                frames[0], frame, part, objective=WANTED, optimiser="lbfgs", levels=plan
            ).transform
        )
    return found


def compositive(frames: list[Image], times: np.ndarray, steps: tuple[int, int]) -> list[Transform]:
    """A displacement field for every frame but the first."""
    plan = tuple(Level(None, count // 2, 0) for count in steps)
    found: list[Transform] = [co.build("displacement").on(frames[0].grid)]
    for frame in frames[1 : len(times)]:
        part = co.build("displacement")
        rule = "compositive"
        found.append(
            optimise(frames[0], frame, part, objective="ngf", optimiser=rule, levels=plan).transform
        )
    return found


def scored(
    found: list[Transform], truths: list[Transform], frames: list[Image]
) -> dict[str, float]:
    """Error, temporal roughness and numbers kept.

    Args:
        found: First frame's world to that of each frame.
        truths: The motion of each frame.
        frames: Whose first says where there is something.
    """
    first = frames[0]
    index = np.argwhere(first.numpy() > 0.2 * np.quantile(first.numpy(), 0.98))
    # the motion dies away towards the border of the image
    share = index / np.array(first.grid.shape)
    index = index[((share > 0.2) & (share < 0.8)).all(1)]
    index = index[np.random.default_rng(0).permutation(len(index))[:COUNT]]
    points = torch.as_tensor(first.grid.to_world(index), dtype=torch.float32)[None]
    with torch.no_grad():
        there = torch.cat([one(points) for one in found])
        gaps = [t(p[None]) - points for t, p in zip(truths, there, strict=True)]
    error = torch.cat(gaps)[1:].norm(dim=-1).numpy()
    bent = there[2:] - 2 * there[1:-1] + there[:-2]
    modules = {id(p): p.numel() for one in found[1:] for p in one.parameters()}
    return {
        "median, mm": round(float(np.median(error)), 3),
        "p95, mm": round(float(np.percentile(error, 95)), 2),
        "roughness, mm": round(float(bent.norm(dim=-1).mean()), 3),
        "kB": round(4 * sum(modules.values()) / 1000, 1),
    }


def _study(folders: Folders) -> tuple[list[Image], np.ndarray]:
    room = folders.data / "prostate_dce_4d"
    times = json.loads((room / "ProstateX-0218_dce_times.json").read_text("utf-8"))["times_s"]
    path = room / "ProstateX-0218_dce.nii.gz"
    chosen = range(0, len(times), EVERY)
    frames = [co.read_image(path, frame=n).float() for n in chosen]
    grid = frames[0].grid.shrink(frames[0].grid.factors(SPACING))
    top = float(np.quantile(frames[0].numpy(), 0.999))
    return [at(f.with_data(f.data / top), grid) for f in frames], np.array(times)[::EVERY]


def _row(folders: Folders, *, how: Any) -> dict[str, Any]:
    still, times = _study(folders)
    frames, truths = moved(still, times)
    with Spent() as spent:
        found = how(frames, times, STEPS)
    return scored(found, truths, frames) | spent.told()


def _before(folders: Folders) -> dict[str, Any]:
    still, times = _study(folders)
    frames, truths = moved(still, times)
    stays = [co.build("displacement").on(frames[0].grid) for _ in times]
    told = scored(stays, truths, frames)
    return {name: told[name] for name in ("median, mm", "p95, mm")}


def _truth(folders: Folders) -> dict[str, Any]:
    still, times = _study(folders)
    frames, truths = moved(still, times)
    told = scored([truth.inverse() for truth in truths], truths, frames)
    return {"roughness, mm": told["roughness, mm"]}


ROWS: dict[str, Row] = {
    "before": _before,
    "the motion itself": _truth,
    "one network": partial(_row, how=together),
    "bspline(12), frame by frame": partial(_row, how=each),
    "compositive, frame by frame": partial(_row, how=compositive),
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows

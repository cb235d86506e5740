"""Timings: steps of a network with second derivatives, by nested gradients and carried forward."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from implicit_rows import Folders, Row, Spent
from torch import Tensor

import coincide as co
from coincide.objective import objective
from coincide.optimisers.optimiser import Problem
from coincide.optimisers.sampled import Sampled
from coincide.similarities.nmi import NMI
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.siren import Siren
from coincide.transforms.transform import Transform

POINTS, VOXELS = 10_000, 1_000_000
STEPS = 3  # of which the quickest counts, after one that is not counted
NETWORK = "siren(width=256, depth=3, omega=32.0)"


class Nested(Transform):
    """A siren whose derivatives are gradients of gradients: 3, then 9, as they are published."""

    def __init__(self, siren: Siren):
        super().__init__()
        self.siren, self.held = siren, ()

    def forward(self, points: Points) -> Points:
        return self.siren(points)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        return self.siren.displacement(grid, inner)

    def inverse(self) -> Transform:
        return self.siren.inverse()

    def on(self, grid: Grid) -> "Nested":
        return Nested(self.siren.on(grid))

    def slopes(self, points: Points) -> tuple[Tensor, Tensor]:
        """Points that know their gradient, and the first derivatives there."""
        start = points.detach().clone().requires_grad_(True)
        moved = self.siren(start)
        rows = [_gradient(moved[..., i], start) for i in range(points.shape[-1])]
        return start, torch.stack(rows, -2)


def _gradient(values: Tensor, start: Tensor) -> Tensor:
    return torch.autograd.grad(values.sum(), start, create_graph=True)[0]


@jacobian_at.register
def _(transform: Nested, points: Points) -> Tensor:
    # kept for the second derivatives of the same step, which begin from these
    transform.held = transform.slopes(points)
    return transform.held[1]


@hessian_at.register
def _(transform: Nested, points: Points) -> Tensor:  # noqa: ARG001
    start, slope = transform.held
    rows = [_gradient(slope[..., i, j], start) for i in range(3) for j in range(3)]
    return torch.stack(rows, -2).unflatten(-2, (3, 3))


def steps(
    fixed: Image, moving: Image, *, regularised: int | None, nested: bool = False, **kinds: Any
) -> dict[str, float]:
    """The quickest of some steps, CPU ms, and the peak of memory, GB.

    Args:
        fixed: Image that stays.
        moving: Image that is mapped, on the same grid.
        regularised: Where bending is asked, 0: at all points; None: there is none.
        nested: Whether derivatives are nested gradients.
        kinds: `points` of a step, and the `network` as text.
    """
    wanted = objective("ncc" if regularised is None else "ncc + 1*bending")
    siren = co.build(kinds.get("network", NETWORK)).on(fixed.grid)
    transform = Nested(siren) if nested else siren
    rule = Sampled(points=kinds.get("points", POINTS), regularised=regularised or 0)
    run = rule.start(Problem(fixed, moving, transform, wanted, None, 1000))
    return quickest(run.step)


def nmi(fixed: Image, moving: Image, voxels: int = VOXELS) -> dict[str, float]:
    """The same for `nmi` of so many voxels and its gradient."""
    grid = Grid((voxels, 1, 1), torch.eye(4).numpy())
    rows = [_row(image.data, voxels).view(1, 1, voxels, 1, 1) for image in (fixed, moving)]
    one, other = (NMI().prepare(Image(row, grid)) for row in rows)
    values = other.data.clone().requires_grad_(True)

    def step() -> None:
        values.grad = None
        NMI().compare(one, Image(values, grid)).sum().backward()

    return quickest(step)


def _row(data: Tensor, count: int) -> Tensor:
    flat = data.flatten()
    # from all over the image: its first rows are background
    few = flat[:: max(1, len(flat) // count)]
    return few.repeat(-(-count // len(few)))[:count]


def quickest(step: Callable[[], Any]) -> dict[str, float]:
    """Least CPU time of some calls, ms, after one that compiles; and how the peak grew by them."""
    with Spent() as before:
        pass
    step()
    times = []
    for _ in range(STEPS):
        begin = time.process_time()
        step()
        times.append(1000 * (time.process_time() - begin))
    with Spent() as after:
        pass
    grown = round(after.peak - before.peak, 2)
    return {"ms": round(min(times), 1), "gb": round(after.peak, 2), "of it by the steps": grown}


def _asked(folders: Folders, **kinds: Any) -> dict[str, float]:
    # two small images, as a step of random points takes as long on any and the peak is the step's
    files = sorted((folders.data / "hippocampus_t1").glob("*_T1.nii.gz"))[:2]
    fixed, moving = (co.read_image(file).float() for file in files)
    return steps(fixed, resample(moving, fixed.grid), **kinds)


def _nmi(folders: Folders) -> dict[str, float]:
    room = folders.data / "brain_multimodal_ms"
    return nmi(*(co.read_image(room / f"ms07_{contrast}.nii.gz") for contrast in ("T1", "T2")))


ROWS: dict[str, Row] = {
    "data alone": partial(_asked, regularised=None),
    "bending nested, all points": partial(_asked, regularised=0, nested=True),
    "bending exact, all points": partial(_asked, regularised=0),
    "bending exact, 1000 points": partial(_asked, regularised=1000),
    "bending exact, 300 points": partial(_asked, regularised=300),
    "bending exact, 200 points": partial(_asked, regularised=200),
    "nmi of a million voxels": _nmi,
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """With how many times as long the nested step takes."""
    nested = rows.get("bending nested, all points")
    if nested:
        for name, row in rows.items():
            if "exact" in name or "data" in name:
                row["nested takes"] = round(nested["ms"] / row["ms"], 1)
    return rows

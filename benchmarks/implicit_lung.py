"""Lung: every method of the family beside those that move fields, from one affine start."""

from functools import partial
from typing import Any

from edge_vectors import EdgeVectors
from implicit_chest import chest
from implicit_rows import Folders, Row, Spent

import coincide as co
from coincide.objective import Objective, objective
from coincide.optimisers.idir import IDIR
from coincide.optimisers.level import Level
from coincide.transforms.transform import Transform

Plan = tuple[str, tuple[Level, ...]]
PUBLISHED = "siren(width=256, depth=3, omega=32.0, unit_cube=True)"
FROZEN = "siren(width=256, omega=10.0)"
SIGNED = Objective(((1.0, EdgeVectors()), *objective("100*bending").terms))


def of_preset(name: str) -> Plan:
    """What a preset moves, and its levels."""
    plan = co.PRESETS[name]
    return str(plan.ways).split(" >> ")[-1], plan.levels


def levels(
    objective: str | Objective, optimiser: Any, *steps: int, spacing: tuple[float | None, ...] = ()
) -> tuple[Level, ...]:
    """Halving ones, or of given voxel sizes, mm, with one objective and optimiser."""
    sizes = spacing or (None,) * len(steps)
    return tuple(
        Level(size, count, 0, objective=objective, optimiser=optimiser)
        for size, count in zip(sizes, steps, strict=True)
    )


def published(steps: int) -> Plan:
    """The recipe as it was published, stopped early."""
    return PUBLISHED, levels("ncc", IDIR(), steps)


METHODS: dict[str, Plan] = {
    "compositive, preset lung-ct": of_preset("lung-ct"),
    "bspline(8), lncc + bending, lbfgs": (
        "bspline(spacing=8.0)",
        levels("lncc(radius=2) + 1*bending", "lbfgs", 50, 30, 15),
    ),
    "siren, preset idir": of_preset("idir"),
    "cycle, preset cycle": of_preset("cycle"),
    "sinr(8), lncc + bending, adam": (
        "sinr(spacing=8.0, omega=20.0)",
        levels("lncc(radius=2) + 1*bending", "adam(rate=0.002)", 80, 40, spacing=(4.0, 2.0)),
    ),
    "siren_velocity, standardised + diffusion, sampled": (
        "siren_velocity(omega=10.0)",
        levels("standardised + 1*diffusion", "sampled(points=3000)", 80, 80, 90),
    ),
    "hash grid, standardised + diffusion, sampled": (
        "siren(activation='hash')",
        levels("standardised + 1*diffusion", "sampled(points=6000)", 100, 100, 150),
    ),
    "least_squares, siren, standardised": (
        FROZEN,
        levels("standardised + 100*bending", "least_squares", 8, 8, 8, 8),
    ),
    "least_squares, siren, ngf": (
        FROZEN,
        levels("ngf(pyramid=True) + 1*bending", "least_squares", 8, 8, 8, 8),
    ),
    "least_squares, siren, edge vectors": (
        FROZEN,
        levels(SIGNED, "least_squares", 6, 6, 6, 6),
    ),
    "least_squares, bspline(8), ngf": (
        "bspline(spacing=8.0)",
        levels("ngf + 1*bending", "least_squares", 6, 6, 5),
    ),
    "siren, as published, 100 of 2500 steps": published(100),
    "siren, as published, 200 of 2500 steps": published(200),
    "siren, as published, 400 of 2500 steps": published(400),
    "siren, as published, 2500 steps": published(2500),
}
LONG = ("siren, as published, 2500 steps",)  # about half an hour: run where asked for


def _row(folders: Folders, *, plan: Plan) -> dict[str, Any]:
    pair = chest(folders, "affine")
    pair.images  # noqa: B018  interpolated once, before the clock starts
    with Spent() as spent:
        found: Transform = pair.fitted(*plan)
    return pair.scored(found) | spent.told()


def _start(folders: Folders) -> dict[str, Any]:
    pair = chest(folders, "affine")
    assert pair.pair.outer is not None
    return pair.scored(pair.pair.outer)


ROWS: dict[str, Row] = {"affine start": _start} | {
    name: partial(_row, plan=plan) for name, plan in METHODS.items()
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows

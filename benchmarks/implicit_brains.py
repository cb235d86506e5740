"""Brains: two people at 2 mm from one affine start, Dice of 27 structures at 1 mm."""

from functools import partial
from typing import Any

import numpy as np
import torch
from implicit_lung import Plan, levels, of_preset
from implicit_rows import Folders, Row
from implicit_warps import fitted
from pairs import case

import coincide as co
from coincide.alignment import pulled
from coincide.scores.overlap import overlap
from coincide.scores.regularity import regularity
from coincide.space.pyramid import at
from coincide.transforms.transform import Transform

CASE, SPACING = "hcp-aligned/1", 2.0  # mm

METHODS: dict[str, Plan] = {
    "compositive, preset brain-mr": of_preset("brain-mr"),
    "bspline(8), lncc + bending, lbfgs": (
        "bspline(spacing=8.0)",
        levels("lncc(radius=2) + 1*bending", "lbfgs", 50, 30, 15),
    ),
    "siren(15), standardised + bending, sampled": (
        "siren(omega=15.0)",
        levels("standardised + 1*bending", "sampled(points=10000)", 150, 150, 150),
    ),
    "sinr(6), lncc + bending, adam": (
        "sinr(spacing=6.0, omega=20.0)",
        levels("lncc(radius=2) + 1*bending", "adam(rate=0.002)", 60, 60),
    ),
}


def _row(folders: Folders, *, plan: Plan | None) -> dict[str, Any]:
    known = case(CASE, folders.data, folders.work)
    images = [co.read_image(path).float() for path in (known.fixed, known.moving)]
    grid = images[0].grid.shrink(images[0].grid.factors(SPACING))
    fixed, moving = (at(image, grid) for image in images)
    if plan is None:
        found: Transform = co.build("displacement").on(grid)
        cost = {}
    else:
        found, spent = fitted(fixed, moving, plan)
        cost = spent.told()
    assert known.fixed_labels is not None
    assert known.moving_labels is not None
    one, other = (co.read_labels(p) for p in (known.fixed_labels, known.moving_labels))
    with torch.no_grad():
        warped = pulled(other, found, one.grid, interpolation="nearest").numpy()
        field = found.displacement(fixed.grid)
    dice = overlap(_only(one.numpy(), known.labels), _only(warped, known.labels)).mean_dice
    folded = regularity(field, fixed.grid, (fixed.data > 0).float()).folding_percent
    return {"Dice": round(dice or 0.0, 4), "folding, %": round(folded, 4)} | cost


def _only(labels: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    return np.where(np.isin(labels, wanted), labels, 0)


ROWS: dict[str, Row] = {"affine start": partial(_row, plan=None)} | {
    name: partial(_row, plan=plan) for name, plan in METHODS.items()
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows

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


def outlined(
    folders: Folders, *, name: str, plan: Plan | None, spacing: float = 0.0
) -> dict[str, Any]:
    """Overlap and folding of a case, where nothing aligns it before; `plan` None: as it is.

    Args:
        folders: Where things lie.
        name: Of the case.
        plan: What is moved and how.
        spacing: Voxels that it is fitted on, mm; 0: those of the fixed image.
    """
    known = case(name, folders.data, folders.work)
    images = [co.read_image(path).float() for path in (known.fixed, known.moving)]
    grid = images[0].grid
    grid = grid.shrink(grid.factors(spacing)) if spacing else grid
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
    return np.where(np.isin(labels, wanted), labels, 0) if wanted else labels


def rows(start: str, methods: dict[str, Plan], name: str, spacing: float = 0.0) -> dict[str, Row]:
    """A row for the start and one for each method."""
    asked = partial(outlined, name=name, spacing=spacing)
    return {start: partial(asked, plan=None)} | {
        method: partial(asked, plan=plan) for method, plan in methods.items()
    }


ROWS = rows("affine start", METHODS, CASE, SPACING)


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows

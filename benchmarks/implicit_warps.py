"""Warps: T2 onto T1 of one head under five known smooth deformations, voxels of 2 mm."""

from functools import partial
from typing import Any

import numpy as np
import torch
from implicit_lung import Plan, levels, of_preset
from implicit_rows import Folders, Row, Spent, rounded

import coincide as co
from coincide.alignment import pulled
from coincide.foreground import foreground
from coincide.optimisers.optimise import Optimise
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.synthetic.deformations import smooth_displacement
from coincide.transforms.transform import Transform
from coincide.way import Pair

WARPS, PEAK, SIGMA, SPACING = 5, 8.0, 20.0, 2.0  # mm but the first
MARGIN = 10.0  # mm

METHODS: dict[str, Plan] = {
    "compositive, preset brain-multimodal": of_preset("brain-multimodal"),
    "bspline(8), nmi + bending, adam": (
        "bspline(spacing=8.0)",
        levels("nmi + 1*bending", "adam(rate=0.2)", 60, 40, 30),
    ),
    "siren, nmi + bending, sampled": (
        "siren(omega=10.0)",
        levels("nmi + 1*bending", "sampled(points=10000)", 170, 170, 160),
    ),
    "sinr(8), nmi + bending, adam": (
        "sinr(spacing=8.0)",
        levels("nmi + 1*bending", "adam(rate=0.002)", 80, 70),
    ),
    "sinr(8), ngf + bending, adam": (
        "sinr(spacing=8.0)",
        levels("ngf + 0.3*bending", "adam(rate=0.002)", 80, 70),
    ),
    "sinr(8), nmi + bending, adam, one level": (
        "sinr(spacing=8.0)",
        levels("nmi + 1*bending", "adam(rate=0.001)", 150),
    ),
    "sinr(8), ngf + bending, adam, one level": (
        "sinr(spacing=8.0)",
        levels("ngf + 0.3*bending", "adam(rate=0.001)", 150),
    ),
    "least_squares, siren, mind_ssc": (
        "siren(width=256, omega=6.0)",
        levels("mind_ssc + 1*bending", "least_squares", 5, 5, 5),
    ),
}


def warped(fixed: Image, other: Image, seed: int) -> tuple[Image, Transform]:
    """Another contrast of the fixed image under a known deformation, and its truth."""
    truth = smooth_displacement(fixed.grid, peak=PEAK, sigma=SIGMA, seed=seed)
    truth.requires_grad_(False)
    return pulled(other, truth, fixed.grid).with_mask(None), truth


def missed(transform: Transform, truth: Transform, fixed: Image) -> np.ndarray:
    """How far a point of the head is from where the deformation and the map found bring it, mm."""
    index = np.argwhere(fixed.numpy() > 0)
    index = index[np.random.default_rng(0).permutation(len(index))[:20_000]]
    points = torch.as_tensor(fixed.grid.to_world(index), dtype=torch.float32)[None]
    with torch.no_grad():
        # the moving image shows at y what the other shows at truth(y), which should be where x is
        gap = truth(transform(points)) - points
    return gap.norm(dim=-1)[0].numpy()


def fitted(fixed: Image, moving: Image, plan: Plan) -> tuple[Transform, Spent]:
    """A deformation without a linear map, and what it took."""
    shown = [
        foreground(image, margin=MARGIN, name=name)
        for image, name in ((fixed, "fixed"), (moving, "moving"))
    ]
    pair = Pair(*shown)
    pair.images  # noqa: B018  interpolated once, before the clock starts
    with Spent() as spent:
        found = Optimise(*plan)(pair).transform
    return found, spent


def _head(folders: Folders) -> tuple[Image, Image]:
    room = folders.data / "brain_multimodal_ms"
    one, other = (co.read_image(room / f"ms07_{c}.nii.gz").float() for c in ("T1", "T2"))
    grid = one.grid.shrink(one.grid.factors(SPACING))
    return at(one, grid), at(other, grid)


def _row(folders: Folders, *, plan: Plan) -> dict[str, Any]:
    fixed, other = _head(folders)
    medians, seconds, spent = [], [], None
    for seed in range(1, WARPS + 1):
        moving, truth = warped(fixed, other, seed)
        found, spent = fitted(fixed, moving, plan)
        medians.append(float(np.median(missed(found, truth, fixed))))
        seconds.append(spent.seconds)
    assert spent is not None
    return {
        "median, mm": round(float(np.mean(medians)), 3),
        "each warp": rounded(medians),
        "seconds": round(float(np.mean(seconds)), 1),
        "gb": round(spent.peak, 2),
    }


def _before(folders: Folders) -> dict[str, Any]:
    fixed, other = _head(folders)
    found = []
    for seed in range(1, WARPS + 1):
        _, truth = warped(fixed, other, seed)
        still = smooth_displacement(fixed.grid, peak=0.0, sigma=SIGMA)
        found.append(float(np.median(missed(still, truth, fixed))))
    return {"median, mm": round(float(np.mean(found)), 3), "each warp": rounded(found)}


ROWS: dict[str, Row] = {"before": _before} | {
    name: partial(_row, plan=plan) for name, plan in METHODS.items()
}


def told(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return rows

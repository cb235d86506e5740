"""Pairs: the cases that a folder of real images holds.

What must be made first (an affine alignment, a known deformation, another contrast, common label
numbers) is made once and kept in the work folder. The folder of images is laid out as the
variables below say; none of them is part of this project.
"""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from cases import ASEG, Case

import coincide as co
from coincide.alignment import pulled
from coincide.files.lps import flip
from coincide.space.pyramid import at
from coincide.space.sampling import resample
from coincide.synthetic.contrasts import pseudo_t2
from coincide.synthetic.deformations import random_affine, smooth_displacement

HCP = (("100307", "100408"), ("101006", "100307"))  # fixed, moving
HIPPOCAMPI = 20
POINTS = 20_000
MARGIN, MULTIPLE = 4, 16  # voxels


def makers() -> dict[str, Callable[[str, Path, Path], Case]]:
    """What makes each case, from its name, the folder of images and a folder of its own."""
    found: dict[str, Callable[[str, Path, Path], Case]] = {}
    for number, (fixed, moving) in enumerate(HCP, 1):
        found[f"hcp/{number}"] = partial(hcp, fixed, moving)
        found[f"hcp-4mm/{number}"] = partial(hcp_coarse, fixed, moving)
        found[f"hcp-aligned/{number}"] = partial(hcp_aligned, fixed, moving, False)
        found[f"hcp-inverted/{number}"] = partial(hcp_aligned, fixed, moving, True)
    for contrast in ("T2", "FLAIR"):
        for seed in (1, 2, 3):
            found[f"known-{contrast.lower()}/{seed}"] = partial(known, contrast, seed)
    found["lung/1"] = lung
    found["cardiac/1"] = cardiac
    found["abdomen/1"] = abdomen
    found["abdomen-aligned/1"] = abdomen_aligned
    for number in range(1, HIPPOCAMPI + 1):
        found[f"hippocampus/{number}"] = partial(hippocampus, number)
    return found


def case(name: str, data: Path, work: Path) -> Case:
    """Make a case, or find what was made.

    Args:
        name: A key of `makers`.
        data: Folder of real images.
        work: Folder for what is made.
    """
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    return makers()[name](name, data, folder)


def hcp(fixed: str, moving: str, name: str, data: Path, folder: Path) -> Case:
    """Two brains as they are stored: 1 mm, not aligned."""
    del folder
    room = data / "brain_t1_labels"
    images = [room / f"hcp{n}_T1brain.nii.gz" for n in (fixed, moving)]
    labels = [room / f"hcp{n}_aseg.nii.gz" for n in (fixed, moving)]
    return Case(name, *images, *labels, ASEG, preset="brain-mr")


def hcp_coarse(fixed: str, moving: str, name: str, data: Path, folder: Path) -> Case:
    """The same with voxels of 4 mm, to see quickly whether a peer works."""
    whole = hcp(fixed, moving, name, data, folder)
    made = _made(folder)
    if not made["moving_labels"].exists():
        for key in ("fixed", "moving"):
            image = co.read_image(getattr(whole, key))
            labels = co.read_labels(getattr(whole, f"{key}_labels"))
            grid = image.grid.shrink(image.grid.factors(4.0))
            co.write_image(at(image, grid), made[key])
            coarse = resample(labels, grid, interpolation="nearest")
            co.write_image(coarse, made[f"{key}_labels"])
    return Case(name, **made, labels=ASEG, preset="brain-mr")


def hcp_aligned(
    fixed: str, moving: str, inverted: bool, name: str, data: Path, folder: Path
) -> Case:
    """The same after one affine registration, on one grid: the deformation alone is compared.

    The grid is cropped to the two brains and its sides are multiples of 16 voxels. Inverted: the
    moving image is given another contrast.
    """
    whole = hcp(fixed, moving, name, data, folder)
    made = _made(folder)
    if not made["moving_labels"].exists():
        image, labels = co.read_image(whole.fixed), co.read_labels(whole.fixed_labels)
        source = co.read_image(whole.moving)
        affine = co.register(image, source, preset="affine", device="cpu").transform
        warped = pulled(source, affine, image.grid, interpolation="linear").with_mask(None)
        other = co.read_labels(whole.moving_labels)
        box = _box((image.data[0, 0] > 0) | (warped.data[0, 0] > 0))
        warped = warped.crop(*box)
        co.write_image(image.crop(*box), made["fixed"])
        co.write_image(pseudo_t2(warped, seed=1) if inverted else warped, made["moving"])
        co.write_image(labels.crop(*box), made["fixed_labels"])
        bent = pulled(other, affine, labels.grid, interpolation="nearest").with_mask(None)
        co.write_image(bent.crop(*box), made["moving_labels"])
    return Case(
        name,
        **made,
        labels=ASEG,
        contrast="different" if inverted else "same",
        linear="none",
        preset="brain-multimodal" if inverted else "brain-mr",
    )


def known(contrast: str, seed: int, name: str, data: Path, folder: Path) -> Case:
    """T1 of a person, and another contrast of the same under a known affine and deformation."""
    room = data / "brain_multimodal_ms"
    fixed, moving, points = room / "ms07_T1.nii.gz", folder / "moving.nii.gz", folder / "points.npz"
    if not points.exists():
        image, brain = co.read_image(room / f"ms07_{contrast}.nii.gz"), co.read_image(fixed)
        affine = random_affine(image.grid, degrees=6, shift=6, scale=0.05, seed=seed)
        bent = smooth_displacement(image.grid, peak=8, sigma=20, seed=seed)
        truth = (affine @ bent).requires_grad_(False)
        co.write_image(pulled(image, truth, image.grid).with_mask(None), moving)
        shown = pulled(brain, truth, image.grid, interpolation="nearest").numpy() > 0
        index = np.argwhere(shown)
        index = index[np.random.default_rng(seed).choice(len(index), POINTS, replace=False)]
        here = torch.from_numpy(image.grid.to_world(index))[None]
        # a point of the moved image shows what the truth maps it to
        np.savez(points, fixed=_lps(truth(here)[0].numpy()), moving=_lps(here[0].numpy()))
    return Case(name, fixed, moving, points=points, contrast="different", preset="brain-multimodal")


def lung(name: str, data: Path, folder: Path) -> Case:
    """One chest at two visits, with landmarks."""
    room = data / "lung_ct"
    points = folder / "points.npz"
    with (room / "elx_landmarks.csv").open() as file:
        rows = list(csv.DictReader(file))
    sides = {"fixed": "baseline", "moving": "followup"}
    held = {k: [[float(r[f"{v}_{c}_lps"]) for c in "xyz"] for r in rows] for k, v in sides.items()}
    np.savez(points, fixed=np.array(held["fixed"]), moving=np.array(held["moving"]))
    images = [room / f"elx_{visit}_CT.nii.gz" for visit in sides.values()]
    masks = [room / f"elx_{visit}_lungmask.nii.gz" for visit in sides.values()]
    return Case(name, *images, *masks, points=points, preset="lung-ct")


def cardiac(name: str, data: Path, folder: Path) -> Case:
    """One heart, contracted onto relaxed."""
    del folder
    room = data / "cardiac"
    images = [room / f"cine0001_{phase}_MR.nii.gz" for phase in ("ED", "ES")]
    labels = [room / f"cine0001_{phase}_label.nii.gz" for phase in ("ED", "ES")]
    return Case(name, *images, *labels, linear="rigid", preset="cardiac")


def abdomen(name: str, data: Path, folder: Path) -> Case:
    """CT of one person onto MR of another, with 20 organs."""
    room = data / "abdomen_ct_mr"
    made = _made(folder)
    if not made["moving_labels"].exists():
        organs = json.loads((room / "labels.json").read_text("utf-8"))["shared"]
        for key, kind, stem in (("fixed", "mr", "MR_labels50"), ("moving", "ct", "CT_labels117")):
            labels = co.read_labels(room / f"ts_{stem}.nii.gz")
            numbered = torch.zeros_like(labels.data)
            for number, organ in enumerate(organs, 1):
                numbered[labels.data == organ[kind]] = number
            co.write_image(labels.with_data(numbered), made[f"{key}_labels"])
    images = room / "ts_MR.nii.gz", room / "ts_CT.nii.gz"
    labels = made["fixed_labels"], made["moving_labels"]
    return Case(name, *images, *labels, contrast="different", preset="abdomen")


def abdomen_aligned(name: str, data: Path, folder: Path) -> Case:
    """The same after Coincide's affine registration, for peers whose own does not find the pose."""
    whole = abdomen(name, data, folder)
    moving, labels = folder / "moving.nii.gz", folder / "moved_labels.nii.gz"
    if not labels.exists():
        image, source = co.read_image(whole.fixed), co.read_image(whole.moving)
        affine = co.register(image, source, "affine", preset="abdomen", device="cpu").transform
        warped = pulled(source, affine, image.grid)
        air = source.data.min()  # also beyond the field of view
        filled = torch.where(warped.weight() > 0.5, warped.data, air)
        co.write_image(warped.with_data(filled).with_mask(None), moving)
        other = co.read_labels(whole.moving_labels)
        bent = pulled(other, affine, image.grid, interpolation="nearest").with_mask(None)
        co.write_image(bent, labels)
    return replace(whole, moving=moving, moving_labels=labels, linear="none")


def hippocampus(number: int, name: str, data: Path, folder: Path) -> Case:
    """One of twenty random pairs of people."""
    del folder
    room = data / "hippocampus_t1"
    people = sorted(path.name.split("_")[1] for path in room.glob("*_T1.nii.gz"))
    drawn = np.random.default_rng(0).permutation(people)[: 2 * HIPPOCAMPI]
    pair = drawn[2 * number - 2 : 2 * number]
    images = [room / f"hippocampus_{person}_T1.nii.gz" for person in pair]
    labels = [room / f"hippocampus_{person}_label.nii.gz" for person in pair]
    return Case(name, *images, *labels)


def _made(folder: Path) -> dict[str, Path]:
    keys = ("fixed", "moving", "fixed_labels", "moving_labels")
    return {key: folder / f"{key}.nii.gz" for key in keys}


def _box(inside: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where something is, with a margin, in multiples of 16 voxels where the image allows it."""
    index = inside.nonzero()
    starts, stops = [], []
    for low, high, size in zip(index.amin(0), index.amax(0) + 1, inside.shape, strict=True):
        length = int(high - low) + 2 * MARGIN
        length = min(-(-length // MULTIPLE) * MULTIPLE, size)
        start = min(max(0, int(low + high - length) // 2), size - length)
        starts.append(start)
        stops.append(start + length)
    return tuple(starts), tuple(stops)


def _lps(points: np.ndarray) -> np.ndarray:
    return points * flip(3)

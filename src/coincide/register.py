"""Register: the one call."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.chain import as_ways, chain
from coincide.files.accept import as_image
from coincide.files.itk import read_transform
from coincide.foreground import Foreground, foreground
from coincide.objective import Objective, Term, absent
from coincide.objective import objective as read_objective
from coincide.optimisers.optimiser import Optimiser
from coincide.optimisers.progress import progress
from coincide.presets.preset import Preset, read_ways
from coincide.presets.preset import preset as find_preset
from coincide.registration import Registration
from coincide.registry import Ways, per_level
from coincide.settings import settings
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.transforms.linear import Affine
from coincide.transforms.transform import Transform
from coincide.way import Pair, Way

MARGIN = 10.0  # mm kept around the foreground
AIR = -500.0  # values below this are taken for Hounsfield units
DOUBT = 0.005  # margin below which another orientation is worth a word


def register(
    fixed: Any,
    moving: Any,
    ways: str | Ways | Way | Transform | None = None,
    *,
    objective: str | Objective | Term | Sequence[str | Objective | Term] | None = None,
    optimiser: str | Optimiser | Sequence[str | Optimiser] | None = None,
    preset: str | Path | Preset = "auto",
    initial: str | Path | Transform | Registration = "search",
    device: str = "auto",
) -> Registration:
    """Bring a moving image onto a fixed one, whatever their modality.

    Both are cropped to their foreground and brought to a robust intensity range. Then one way
    follows the other, each going on from what the one before has found: `affine` aligns, searching
    from many starts; `convex` and `spanning_tree` search for large motion; any other transform is
    optimised from coarse to fine. What you give overrules the preset.

    Objective and optimiser are one for all levels or one for each, coarse to fine: a sequence, or
    text divided by semicolons, such as `"lncc(radius=2); ngf; ngf"`.

    Args:
        fixed: A path, `Image`, nibabel or SimpleITK image, or an (array, affine) pair.
        moving: The same; any grid.
        ways: All that is done, such as `"affine >> convex(reach=36) >> velocity(spacing=4)"`, as
            text or as parts joined by `>>`. Without a linear one nothing is aligned.
        objective: Text such as `"ngf(eta=0.5) + 0.1*bending"`, or the object. Label maps and
            landmarks take part by
            `objective("lncc + 0.5*labels").with_data("labels", fixed, moving)`.
        optimiser: Text such as `"adam(rate=0.1)"`.
        preset: A name, see `PRESETS`, a TOML file, or your own `Preset`.
        initial: Where the first way begins: `search`, where it finds best; `header`, at the world
            coordinates of the files; a transform, a file of one, or an earlier registration. A way
            that can refines it; else it is kept, and what is found comes on top.
        device: `auto` (CUDA where present), `cpu`, or a torch device, for what is not linear.

    Returns:
        The transform, its inverse, and how they were found.

    Raises:
        ValueError: if the images cannot be registered, saying why and what would work.

    Example:
        >>> result = register(fixed, moving, "affine")
        >>> result.transform.forward(points).shape == points.shape
        True
    """
    begin = time.perf_counter()
    place = _device(device)
    plan = preset if isinstance(preset, Preset) else find_preset(preset)
    if ways is not None:
        plan = replace(plan, ways=read_ways(ways))
    parts = read_ways(plan.ways)
    steps = as_ways(parts, plan.levels, objective=_complete(objective), optimiser=optimiser)
    f, m = as_image(fixed), as_image(moving)
    notes = [f"fixed image: {w}" for w in f.warnings] + [f"moving image: {w}" for w in m.warnings]
    if f.image.dim != m.image.dim:
        raise ValueError(
            f"the fixed image has {f.image.dim} axes and the moving image {m.image.dim}; "
            "give two images of the same dimension (--frame picks one of a series)"
        )
    if f.image.data.shape[1] != m.image.data.shape[1]:
        raise ValueError(
            f"the fixed image has {f.image.data.shape[1]} channels and the moving image "
            f"{m.image.data.shape[1]}; give as many, in the same order"
        )
    start = _start(initial, f.image.grid)
    seconds = {"read": time.perf_counter() - begin}
    with progress() as watch:
        pair = Pair(
            _foreground(f.image, plan, "fixed"), _foreground(m.image, plan, "moving"), device=place
        )
        transform, founds = chain(pair, steps, start=start, watch=watch)
    for part, found in zip(parts, founds, strict=True):
        name = part.name
        seconds[name] = seconds.get(name, 0.0) + found.seconds
    begin = time.perf_counter()
    inverse = transform.inverse()
    seconds["inverse"] = time.perf_counter() - begin
    for module in (transform, inverse):
        module.requires_grad_(False)
    margin = next((found.margin for found in founds if found.margin is not None), None)
    if margin is not None and margin < DOUBT:
        notes.append(
            f"a quite different position or orientation scored almost as well (margin "
            f"{margin:.4f}, in units of the similarity); check left and right, head and foot"
        )
    confidence = [found.confidence for found in founds if found.confidence is not None]
    return Registration(
        fixed=f.image,
        moving=m.image,
        transform=transform,
        inverse=inverse,
        history=tuple(step for found in founds for step in found.history),
        candidates=next((found.candidates for found in founds if found.candidates), ()),
        margin=margin,
        confidence=confidence[-1] if confidence else None,
        initial=start if isinstance(initial, Transform | Registration) else None,
        settings=settings(
            plan,
            parts,
            founds,
            images=(fixed, moving),
            preset=preset,
            initial=initial,
            device=device,
        ),
        status="; ".join(found.status for found in founds),
        seconds=seconds,
        warnings=tuple(notes),
    )


def _complete(given: Any) -> list[Objective] | None:
    """The objectives, if every term has what it compares."""
    if given is None:
        return None
    targets = [read_objective(one) for one in per_level(given)]
    for target in targets:
        if target.absent:
            raise ValueError(absent(target.absent[0]))
    return targets


def _start(initial: str | Path | Transform | Registration, grid: Grid) -> Transform | None:
    """The transform to begin with, frozen; None: nothing is known."""
    if isinstance(initial, Registration):
        initial = initial.transform
    if initial == "search":
        return None
    if initial == "header":
        return Affine(np.eye(grid.dim + 1))
    if isinstance(initial, str | Path):
        if not Path(initial).is_file():
            raise ValueError(
                f"initial is 'search', 'header', a transform or a file of one; there is no file "
                f"{str(initial)!r}"
            )
        initial = read_transform(initial)
    start = copy.deepcopy(initial).requires_grad_(False)
    centre = torch.as_tensor(grid.centre)[None, None]
    try:
        moved = start(centre)
    except RuntimeError as error:
        raise ValueError(
            f"the initial transform cannot move points of {grid.dim} axes: {error}"
        ) from error
    if moved.shape != centre.shape or not bool(moved.isfinite().all()):
        raise ValueError(
            f"the initial transform moves the middle of the fixed image, {grid.centre.tolist()}, "
            f"to {moved.flatten().tolist()}; give one from the fixed to the moving world, in mm"
        )
    return start


def _foreground(image: Image, plan: Preset, name: str) -> Foreground:
    image = image.float()
    if plan.window and float(image.data.min()) < AIR:
        low, high = plan.window
        image = image.with_data(image.data.clamp(low, high))
    return foreground(image, margin=MARGIN, name=name)


def _device(name: str) -> torch.device:
    """The device to deform on."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        here = "auto, cpu, cuda" if torch.cuda.is_available() else "auto, cpu"
        raise ValueError(f"cannot use the device {name!r}; known here: {here}") from None
    return device

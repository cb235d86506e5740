"""Register: the one call."""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from coincide.agreement import agreement
from coincide.chain import chain
from coincide.foreground import Foreground, foreground
from coincide.objective import Objective, Term
from coincide.optimisers.optimiser import Optimiser
from coincide.optimisers.progress import progress
from coincide.presets.preset import Preset
from coincide.registration import Agreement, Registration
from coincide.registry import Ways
from coincide.report.versions import versions
from coincide.request import Request, request
from coincide.settings import settings
from coincide.space.image import Image
from coincide.status import status
from coincide.transforms.transform import Transform
from coincide.way import Pair, Way

MARGIN = 10.0  # mm kept around the foreground
AIR = -500.0  # values below this are taken for Hounsfield units
DOUBT = 0.005  # margin below which another orientation is worth a word

log = logging.getLogger("coincide")


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
        fixed: A path, `Image`, nibabel or SimpleITK image, or an (array, affine) pair; or a `Scan`
            of one of these, with its mask, labels, landmarks, frame or DICOM series.
        moving: The same; any grid.
        ways: All that is done, such as `"affine >> convex(reach=36) >> velocity(spacing=4)"`, as
            text or as parts joined by `>>`. Without a linear one nothing is aligned.
        objective: Text such as `"ngf(eta=0.5) + 0.1*bending"`, or the object. The terms `labels`
            and `landmarks` compare those of the two scans.
        optimiser: Text such as `"adam(rate=0.1)"`.
        preset: A name, see `PRESETS`, a TOML file, or your own `Preset`.
        initial: Where the first way begins: `search`, where it finds best; `header`, at the world
            coordinates of the files; a transform, a file of one, or an earlier registration. A way
            that can refines it; else it is kept, and what is found comes on top.
        device: `auto` (CUDA where present), `cpu`, or a torch device, for what is not linear.

    Returns:
        The transform, its inverse, how they were found, and how well the images then agree.

    Raises:
        ValueError: if the images cannot be registered, saying why and what would work.

    Example:
        >>> result = register(fixed, moving, "affine")
        >>> result.transform(points).shape == points.shape
        True
    """
    asked = request(
        fixed,
        moving,
        ways,
        objective=objective,
        optimiser=optimiser,
        preset=preset,
        initial=initial,
        device=device,
    )
    return run(asked)


def run(asked: Request) -> Registration:
    """Run what was asked for, after all of it has been read and checked.

    Raises:
        ValueError: if the images cannot be registered, saying why and what would work.
    """
    f, m = asked.fixed.image, asked.moving.image
    seconds = {"read": asked.seconds}
    log.info("read in %.1f s: %s", asked.seconds, asked.asked)
    with progress() as watch:
        pair = Pair(
            _foreground(f, asked.plan, "fixed"),
            _foreground(m, asked.plan, "moving"),
            device=asked.device,
        )
        transform, founds = chain(pair, asked.ways, start=asked.start, watch=watch)
    for part, found in zip(asked.parts, founds, strict=True):
        seconds[part.name] = seconds.get(part.name, 0.0) + found.seconds
        log.info("%s in %.1f s", found.status, found.seconds)
    begin = time.perf_counter()
    inverse = transform.inverse()
    seconds["inverse"] = time.perf_counter() - begin
    for module in (transform, inverse):
        module.requires_grad_(False)
    begin = time.perf_counter()
    alike = agreement(pair.fixed, pair.moving, transform)
    seconds["agreement"] = time.perf_counter() - begin
    margin = next((found.margin for found in founds if found.margin is not None), None)
    confidence = [found.confidence for found in founds if found.confidence is not None]
    one, other = asked.fixed, asked.moving
    initial = asked.initial
    where = initial if initial in ("search", "header") else "given"
    return Registration(
        fixed=f,
        moving=m,
        transform=transform,
        inverse=inverse,
        history=tuple(step for found in founds for step in found.history),
        candidates=next((found.candidates for found in founds if found.candidates), ()),
        margin=margin,
        confidence=confidence[-1] if confidence else None,
        initial=asked.start if isinstance(initial, Transform | Registration) else None,
        labels=None if one.labels is None or other.labels is None else (one.labels, other.labels),
        points=None if one.points is None or other.points is None else (one.points, other.points),
        label_names=one.names or other.names,
        agreement=alike,
        settings=settings(
            asked.plan,
            asked.parts,
            founds,
            inputs=asked.inputs,
            preset=asked.preset,
            initial=initial,
            device=asked.on,
        ),
        asked=asked.asked,
        hashes=asked.hashes,
        versions=versions(),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        status=f"{status(founds, initial=where)} {alike}",
        details=tuple(found.status for found in founds),
        seconds=seconds,
        warnings=(*asked.notes, *_doubts(alike, margin)),
    )


def _doubts(alike: Agreement, margin: float | None) -> Iterator[str]:
    """What about the result needs a look, one sentence each."""
    if not alike.gained:
        yield (
            "the two images do not agree clearly better than by chance, although they were "
            "registered: they may show different things, or be turned or mirrored; do not use the "
            "result before somebody has looked at it"
        )
    if margin is not None and margin < DOUBT:
        yield (
            f"a quite different position or orientation scored almost as well (margin "
            f"{margin:.4f}, in units of the similarity); check left and right, head and foot"
        )


def _foreground(image: Image, plan: Preset, name: str) -> Foreground:
    image = image.float()
    if plan.window and float(image.data.min()) < AIR:
        low, high = plan.window
        image = image.with_data(image.data.clamp(low, high))
    return foreground(image, margin=MARGIN, name=name)

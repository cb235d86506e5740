"""Overlays: masks, label maps, landmarks and confidence, as the viewer draws them."""

from typing import Any

import numpy as np
import torch

from coincide.registration import Registration
from coincide.report.lattice import coarser, on
from coincide.report.mosaic import mosaic
from coincide.scores.mapped import mapped
from coincide.scores.numbering import differently_numbered
from coincide.scores.overlap import counts, overlap
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.space.shapes import Field

CLEAR = 96  # voxels an axis of the confidence of a search, whose control points are far apart
MASKS = {"fixed": 1, "moving": 2, "warped": 4}


def masks(result: Registration, lattice: Grid, field: Field) -> dict[str, Any] | None:
    """Where the images count, one bit each; None where all of both does."""
    bits = np.zeros(lattice.shape, np.uint8)
    for which, image in (("fixed", result.fixed), ("moving", result.moving)):
        if image.mask is None or bool((image.mask[:1] > 0).all()):
            continue
        counted = Image((image.mask[:1] > 0).cpu().to(torch.int64), image.grid)
        bits |= np.uint8(MASKS[which]) * on(counted, lattice, nearest=True)[0].astype(np.uint8)
        if which == "moving":
            warped = resample(counted, lattice, field, interpolation="nearest")
            bits |= np.uint8(MASKS["warped"]) * warped.data[0, 0].numpy().astype(np.uint8)
    return mosaic(bits[None]) if bits.any() else None


def organs(result: Registration, lattice: Grid, field: Field) -> dict[str, Any] | None:
    """Label maps of the fixed, the moving and the warped image; None without any.

    Returns:
        A mosaic each, whose voxels count the `numbers`, 0 the background; the `names` of these;
        the Dice of each fixed number `before`; and `elsewhere`, the fixed numbers that lie on
        another number of the warped map.

    Raises:
        ValueError: if the maps hold more than 65535 labels.
    """
    if result.labels is None:
        return None
    fixed, moving = (Image(labels.data[:1].cpu(), labels.grid) for labels in result.labels)
    maps = {
        "fixed": on(fixed, lattice, nearest=True)[0],
        "moving": on(moving, lattice, nearest=True)[0],
        "warped": resample(moving, lattice, field, interpolation="nearest").data[0, 0].numpy(),
    }
    numbers = np.array([0, *sorted({label for each in maps.values() for label in counts(each)})])
    if len(numbers) > 1 << 16:
        raise ValueError(f"the label maps hold {len(numbers)} labels; are they label maps?")
    maps = {name: counted(each, numbers) for name, each in maps.items()}
    names = result.label_names or {}
    elsewhere = differently_numbered(maps["fixed"], maps["warped"])
    return {
        "maps": {name: mosaic(each[None]) for name, each in maps.items()},
        "numbers": numbers.tolist(),
        "names": [names.get(int(n), f"label {int(n)}") for n in numbers],
        "before": {
            int(numbers[code]): dice
            for code, dice in overlap(maps["fixed"], maps["moving"]).dice.items()
        },
        "elsewhere": {int(numbers[a]): int(numbers[b]) for a, b in elsewhere.items()},
    }


def counted(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Which of the numbers each voxel holds, counted from 0, in as few bytes as do."""
    kind = np.uint8 if len(numbers) <= 256 else np.uint16
    order = np.argsort(numbers, kind="stable")
    low, high = int(numbers.min()), int(numbers.max())
    if high - low < 1 << 20:
        # a table is several times faster than a search for each of millions of voxels
        table = np.zeros(high - low + 1, kind)
        table[numbers - low] = np.arange(len(numbers))
        return table[labels - low]
    return order[np.searchsorted(numbers, labels, sorter=order)].astype(kind)


def confidence(clear: Image | None, lattice: Grid) -> dict[str, Any] | None:
    """How clear the choice of a search was, 0 to 255, as a mosaic; None without a search."""
    if clear is None:
        return None
    few = coarser(lattice, CLEAR)
    # the control points end half a cell before the image does: go on with the last of them
    index = few.index_in(clear.grid)
    axes = np.indices(few.shape).reshape(few.dim, -1)
    at = index[:-1, :-1] @ axes + index[:-1, -1:]
    at = np.clip(at, 0, np.array(clear.grid.shape)[:, None] - 1)
    at = np.round(at).astype(int)
    values = clear.data[0, 0].detach().cpu().numpy()[tuple(at)].reshape(few.shape)
    codes = np.round(255 * np.clip(np.nan_to_num(values), 0, 1)).astype(np.uint8)
    return {**mosaic(codes[None]), "shape": [*few.shape, *[1] * (3 - few.dim)]}


def landmarks(result: Registration, lattice: Grid) -> list[dict[str, Any]]:
    """Each landmark in voxels of the lattice, and its error before and after, mm.

    `fixed` and `true` lie in the fixed image: the landmark, and where its partner of the moving
    image comes to lie by the inverse. `found` and `partner` lie in the moving image: where the
    transform takes the landmark, and where it should. None stands for what is not finite.
    """
    if result.points is None:
        return []
    first, second = result.points
    found = mapped(result.transform, first)
    places = {
        "fixed": first,
        "true": mapped(result.inverse, second),
        "found": found,
        "partner": second,
    }
    missing = [0.0] * (3 - lattice.dim)
    index = {
        name: [
            [*np.round(row, 3).tolist(), *missing] if np.isfinite(row).all() else None
            for row in lattice.to_index(at)
        ]
        for name, at in places.items()
    }
    before = np.linalg.norm(second - first, axis=1)
    after = np.linalg.norm(found - second, axis=1)
    return [
        {
            "number": n + 1,
            "before": round(float(before[n]), 4),
            "after": round(float(after[n]), 4) if np.isfinite(after[n]) else None,
            **{name: index[name][n] for name in places},
        }
        for n in range(len(first))
    ]

"""Record: how a registration was found, as `result.json` keeps it, and the way back."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coincide.files.itk import read_transform
from coincide.files.read import read_image
from coincide.registration import Agreement, Candidate, Registration, Step
from coincide.scan import ReadScan, Scan, content_hash, in_one_numbering
from coincide.settings import INITIAL, INPUTS, SIDES, TOLD, key, read_settings, scans, stored_name
from coincide.space.grid import Grid
from coincide.space.image import Image

RECORD = "result.json"  # written last: a folder that holds it is complete
FORMAT = 1
IN_PLANE = [0, 1, 3]  # of a 3-D affine
BACK = "put it back, or register again with coincide register --settings"


def record(result: Registration, hashes: Mapping[str, str]) -> dict[str, Any]:
    """What no other file of the folder holds, ready for JSON.

    Args:
        result: What was found.
        hashes: SHA-256 of all inputs, by their keys in the settings.
    """
    return {
        "format": FORMAT,
        "dim": result.fixed.dim,
        "channels": [image.data.shape[1] for image in (result.fixed, result.moving)],
        "status": result.status,
        "warnings": list(result.warnings),
        "agreement": None if result.agreement is None else result.agreement.to_dict(),
        "details": list(result.details),
        "seconds": result.seconds,
        "margin": None if result.margin is None else plain(result.margin),
        "date": result.date,
        "versions": dict(result.versions),
        "asked": plain(result.asked),
        "hashes": dict(hashes),
        "candidates": [plain([c.name, c.cost, c.refined, c.chosen]) for c in result.candidates],
        "history": [plain([s.stage, s.level, s.step, s.cost, s.terms]) for s in result.history],
    }


def plain(value: Any) -> Any:
    """As it comes back from JSON, where tuples are lists and infinity has no number."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def load(folder: str | Path) -> Registration:
    """The registration that `save`, or `coincide register --out`, has written.

    Images, masks, labels and landmarks are read again from where they were. One that has changed
    since is named in `warnings`; labels and landmarks that are gone are named there and left out.

    Args:
        folder: What was written.

    Raises:
        ValueError: if it is no such folder, or not complete.
        FileNotFoundError: if an image or a mask is gone, naming it.
    """
    folder = Path(folder)
    if not (folder / "settings.toml").exists():
        raise ValueError(
            f"{folder} has no settings.toml; give a folder that register wrote, or coincide.save"
        )
    if not (folder / RECORD).exists():
        raise ValueError(
            f"{folder} has no {RECORD}, which is written last: the run was interrupted, or is of "
            f"an earlier version; repeat it with coincide register --settings "
            f"{folder / 'settings.toml'} --force --out {folder}"
        )
    kept = json.loads((folder / RECORD).read_text("utf-8"))
    settings = read_settings(folder / "settings.toml")
    lost = _lost(folder, settings)
    pair = scans({name: value for name, value in settings.items() if name not in lost})
    fixed, moving = (
        _read(scan, side, channels, kept["dim"])
        for scan, side, channels in zip(pair, SIDES, kept["channels"], strict=True)
    )
    moving = in_one_numbering(fixed, pair[1], moving)
    gone = dict.fromkeys(lost.values())
    notes = [f"{path} of {folder} is no longer there; {BACK}" for path in gone]
    written = tomllib.loads((folder / "settings.toml").read_text("utf-8"))
    notes += _changed(written, kept["hashes"], (fixed, moving))
    initial, confidence = folder / INITIAL, folder / "confidence.nii.gz"
    agreement, margin = kept["agreement"], kept["margin"]
    return Registration(
        fixed=fixed.image,
        moving=moving.image,
        transform=read_transform(folder / "transform.h5").requires_grad_(False),
        inverse=read_transform(folder / "inverse.h5").requires_grad_(False),
        history=tuple(Step(a, b, c, float(d), _floats(e)) for a, b, c, d, e in kept["history"]),
        candidates=tuple(Candidate(a, float(b), c, d) for a, b, c, d in kept["candidates"]),
        margin=None if margin is None else float(margin),
        confidence=read_image(confidence) if confidence.exists() else None,
        initial=read_transform(initial).requires_grad_(False) if initial.exists() else None,
        labels=_both(fixed.labels, moving.labels),
        label_names=fixed.names or moving.names,
        points=_both(fixed.points, moving.points),
        agreement=None if agreement is None else Agreement(**agreement),
        settings=written,
        asked=kept["asked"],
        hashes=kept["hashes"],
        versions=kept["versions"],
        date=kept["date"],
        status=kept["status"],
        details=tuple(kept["details"]),
        seconds=kept["seconds"],
        warnings=(*kept["warnings"], *notes),
    )


def _lost(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Labels, landmarks and tables that are gone, by their key, with all that needs them.

    Raises:
        ValueError: if the settings do not name the images.
        FileNotFoundError: if an image or a mask is gone.
    """
    gone: dict[str, str] = {}
    for name in (*INPUTS, *TOLD):
        if name in SIDES and name not in settings:
            raise ValueError(f"{folder / 'settings.toml'} does not say which the {name} image was")
        path = settings.get(name)
        if isinstance(path, str) and not Path(path).exists():
            if name not in TOLD and not name.endswith(("_labels", "_points")):
                raise FileNotFoundError(
                    f"{path}, the {name.replace('_', ' ')} of {folder}, is no longer there; {BACK}"
                )
            gone[name] = path
    for name, path in list(gone.items()):
        if name in TOLD and name != "label_names":  # without it the numbers would mean other organs
            gone.setdefault("moving_labels", path)
    for kind in ("labels", "points"):
        both = [f"{side}_{kind}" for side in SIDES]
        for name, other in zip(both, reversed(both), strict=True):
            if name in gone:
                gone.setdefault(other, gone[name])
    return gone


def lifted(image: Image) -> Image:
    """A picture of several channels as one slice of a volume, whose frames a file can hold."""
    if image.dim != 2 or image.data.shape[1] == 1:
        return image
    affine = np.eye(4)
    affine[np.ix_(IN_PLANE, IN_PLANE)] = image.grid.affine
    return Image(image.data[..., None], Grid((*image.grid.shape, 1), affine))


def _read(scan: Scan, side: str, channels: int, dim: int) -> ReadScan:
    """The scan; an array of several channels was written with them as frames."""
    if channels == 1 or Path(scan.image).name != stored_name(side, ""):
        return scan.read(side)
    bare = replace(scan, mask=None, exclude=None)
    frames = [replace(bare, frame=number).read(side).image for number in range(channels)]
    data, grid = torch.cat([frame.data for frame in frames], 1), frames[0].grid
    if dim < grid.dim:
        grid = Grid(grid.shape[:2], grid.affine[np.ix_(IN_PLANE, IN_PLANE)])
        data = data[..., 0]
    read = replace(scan, image=Image(data, grid)).read(side)
    return replace(read, hashes={"": content_hash(scan.image), **read.hashes})


def _changed(
    written: Mapping[str, Any], hashes: Mapping[str, str], read: tuple[ReadScan, ReadScan]
) -> list[str]:
    """A sentence for every input that is not what it was.

    Args:
        written: The settings as they are in the file: names of files beside it are no paths.
        hashes: Of the run.
        read: What is there now.
    """
    notes = []
    for side, scan in zip(SIDES, read, strict=True):
        mask = scan.image.mask
        arrays = {
            "": scan.image.with_mask(None),
            "mask": None if mask is None else Image(mask, scan.image.grid),
            "labels": scan.labels,
            "points": scan.points,
        }
        for kind, now in scan.hashes.items():
            name = key(side, kind)
            # what was an array was hashed as an array, not as the file that it was written to
            if kind in arrays and written[name] == stored_name(side, kind):
                now = content_hash(arrays[kind])
            if name in hashes and hashes[name] != now:
                notes.append(f"{written[name]} has changed since the registration was made")
    return notes


def _both(fixed: Any, moving: Any) -> tuple[Any, Any] | None:
    return None if fixed is None or moving is None else (fixed, moving)


def _floats(terms: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in terms.items()}

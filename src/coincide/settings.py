"""Settings: everything that repeats a run, as it is written to `settings.toml`."""

import tomllib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coincide.objective import objective as read_objective
from coincide.optimisers.level import Level
from coincide.optimisers.optimise import Optimise
from coincide.presets.preset import Preset
from coincide.registry import Ways, per_level, written
from coincide.scan import FILES, ReadScan, Scan
from coincide.transforms.transform import Transform
from coincide.way import Found

INITIAL = "initial.h5"  # file beside the settings for a start that was given as an object
SIDES = ("fixed", "moving")
INPUTS = tuple(f"{side}_{kind}".rstrip("_") for side in SIDES for kind in FILES)
CHOSEN = tuple(f"{side}_{kind}" for side in SIDES for kind in ("frame", "series"))
# of the tables, which need not be given of both: their key, and whose they are
TOLD = {
    "label_names": ("fixed", "label_names"),
    "moving_label_names": ("moving", "label_names"),
    "moving_label_map": ("moving", "label_map"),
}
SUFFIX = {"": ".nii.gz", "mask": ".nii.gz", "labels": ".nii.gz", "points": ".csv"}
KEYS = (*INPUTS, *TOLD, *CHOSEN, "preset", "ways", "window", "initial", "device", "levels")


def settings(
    plan: Preset,
    parts: Ways,
    founds: Sequence[Found],
    *,
    inputs: dict[str, Any],
    preset: Any,
    initial: Any,
    device: str,
) -> dict[str, Any]:
    """What was run, with every choice that was made on the way, as text and numbers.

    The same keys are the options of the command line. They are also those of a preset, so that
    what was found out for one pair can be used for the next.

    Args:
        plan: The preset, overruled.
        parts: What was asked for.
        founds: What each part found.
        inputs: What the pair was read from, see `inputs`.
        preset: As it was given.
        initial: As it was given.
        device: The same.

    Returns:
        Settings; `incomplete` lists objectives that hold data which no text can hold.
    """
    levels = next((f.way.levels for f in founds if isinstance(f.way, Optimise)), ())
    shown = [_text(part, found, levels) for part, found in zip(parts, founds, strict=True)]
    found: dict[str, Any] = {"version": version("coincide"), **inputs}
    found["preset"] = "own" if isinstance(preset, Preset) else str(preset)
    found["ways"] = " >> ".join(shown)
    if plan.window:
        found["window"] = list(plan.window)
    found["initial"] = _start(initial)
    found["device"] = device
    incomplete = [
        text
        for text in dict.fromkeys(str(level.objective) for level in levels)
        if not _readable(text)
    ]
    if incomplete:
        found["incomplete"] = incomplete
    if levels:
        found["levels"] = [level.settings() for level in levels]
    return found


def asked(
    plan: Preset,
    *,
    inputs: dict[str, Any],
    objective: Any,
    optimiser: Any,
    initial: Any,
    device: str,
) -> dict[str, Any]:
    """What was asked for, before anything was chosen: by this a run is known again.

    Args:
        plan: The preset with the ways that were given.
        inputs: What the pair was read from, see `inputs`.
        objective: As it was given.
        optimiser: As it was given.
        initial: The same.
        device: The same.
    """
    found = {**inputs, **plan.to_dict(), "initial": _start(initial), "device": device}
    found.pop("about", None)
    for name, given in (("objective", objective), ("optimiser", optimiser)):
        if given is not None:
            found[name] = [str(one) for one in per_level(given)]
    return found


def inputs(scans: tuple[Scan, Scan], read: tuple[ReadScan, ReadScan]) -> dict[str, Any]:
    """Where the pair was read from: absolute paths, or names of the files that `save` writes.

    Args:
        scans: Fixed and moving image with what belongs to them.
        read: The same, read.
    """
    found: dict[str, Any] = {}
    for side, scan, content in zip(SIDES, scans, read, strict=True):
        paths = dict(scan.paths)
        counted = [kind for kind in scan.given if kind in ("", "mask", "exclude")]
        if content.image.mask is not None and any(kind not in paths for kind in counted):
            # what was not a file has its share in the mask: the whole of it is kept
            paths = {k: v for k, v in paths.items() if k not in ("mask", "exclude")}
            paths["mask"] = stored_name(side, "mask")
        for kind in ("", "labels", "points"):
            if kind in scan.given:
                paths.setdefault(kind, stored_name(side, kind))
        found |= {key(side, kind): paths[kind] for kind in FILES if kind in paths}
        # an array is written as it was compared, in the numbers of the fixed map
        own = side == "moving" and "labels" not in scan.paths
        for name, (whose, kind) in TOLD.items():
            table = getattr(scan, kind)
            if whose == side and table is not None and not own:
                found[name] = paths.get(kind) or {str(k): v for k, v in table.items()}
        if scan.frame is not None:
            found[f"{side}_frame"] = scan.frame
        if scan.series is not None:
            found[f"{side}_series"] = scan.series
        if "" not in scan.paths:  # the one frame is written, and has no number
            found.pop(f"{side}_frame", None)
    return found


def key(side: str, kind: str) -> str:
    """Under which key the settings name what belongs to one image, such as `fixed_labels`."""
    told = (name for name, place in TOLD.items() if place == (side, kind))
    return next(told, f"{side}_{kind}".rstrip("_"))


def stored_name(side: str, kind: str) -> str:
    """Name of the file for what was given as an array, such as `fixed_labels.nii.gz`."""
    return f"{side}_{kind}".rstrip("_") + SUFFIX[kind]


def read_settings(path: Path) -> dict[str, Any]:
    """Settings that a run has written; names of files beside them become absolute paths.

    Raises:
        ValueError: if there are none, or they are not those of a run.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no settings file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a settings file: {error}") from None
    unknown = sorted(set(found) - {*KEYS, "about", "version", "incomplete"})
    if unknown:
        raise ValueError(f"{path} has unknown settings {unknown}; known: {sorted(KEYS)}")
    for name in (*INPUTS, *TOLD):
        if isinstance(found.get(name), str):
            found[name] = str(path.parent.resolve() / found[name])
    if found.get("initial", "search") not in ("search", "header"):
        found["initial"] = str(path.parent.resolve() / found["initial"])
    return found


def scans(found: dict[str, Any]) -> tuple[Scan, Scan]:
    """The fixed and the moving scan that settings, or options of the terminal, name."""
    fixed, moving = (
        Scan(
            found[side],
            mask=found.get(f"{side}_mask"),
            exclude=found.get(f"{side}_exclude"),
            labels=found.get(f"{side}_labels"),
            points=found.get(f"{side}_points"),
            **_tables(found, side),
            frame=found.get(f"{side}_frame"),
            series=found.get(f"{side}_series"),
        )
        for side in SIDES
    )
    return fixed, moving


def _tables(found: dict[str, Any], side: str) -> dict[str, Any]:
    """The tables of one side, by their name in a scan; numbers are numbers again."""
    return {
        kind: {int(k): v for k, v in found[name].items()}
        if isinstance(found[name], dict)
        else found[name]
        for name, (whose, kind) in TOLD.items()
        if whose == side and name in found
    }


def _start(initial: Any) -> str:
    if initial in ("search", "header"):
        return str(initial)
    return str(Path(initial).resolve()) if isinstance(initial, str | Path) else INITIAL


def _text(part: Any, found: Found, levels: Sequence[Level]) -> str:
    """A part as it was given if the common levels say the rest, else the way that ran."""
    if isinstance(part, Transform) and (
        not isinstance(found.way, Optimise) or found.way.levels == levels
    ):
        return written(part)
    return str(found.way)


def _readable(text: str) -> bool:
    try:
        read_objective(text)
    except ValueError:  # a term whose name stands for data, such as the mask of a rigidity
        return False
    return True

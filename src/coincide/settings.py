"""Settings: everything that repeats a run, as it is written to `settings.toml`."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coincide.objective import objective as read_objective
from coincide.optimisers.level import Level
from coincide.optimisers.optimise import Optimise
from coincide.presets.preset import Preset
from coincide.registry import Ways, written
from coincide.transforms.transform import Transform
from coincide.way import Found

INITIAL = "initial.h5"  # file beside the settings for a start that was given as an object


def settings(
    plan: Preset,
    parts: Ways,
    founds: Sequence[Found],
    *,
    images: tuple[Any, Any],
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
        images: Fixed and moving image as they were given; files are named.
        preset: As it was given.
        initial: As it was given.
        device: The same.

    Returns:
        Settings; `incomplete` lists objectives that hold data which no text can hold.
    """
    levels = next((f.way.levels for f in founds if isinstance(f.way, Optimise)), ())
    shown = [_text(part, found, levels) for part, found in zip(parts, founds, strict=True)]
    found: dict[str, Any] = {"version": version("coincide")}
    for name, image in zip(("fixed", "moving"), images, strict=True):
        if isinstance(image, str | Path):
            found[name] = str(Path(image).resolve())
    found["preset"] = "own" if isinstance(preset, Preset) else str(preset)
    found["ways"] = " >> ".join(shown)
    if plan.window:
        found["window"] = list(plan.window)
    if initial in ("search", "header"):
        found["initial"] = str(initial)
    else:
        named = isinstance(initial, str | Path)
        found["initial"] = str(Path(initial).resolve()) if named else INITIAL
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

"""Preset: settings that suit a kind of image pair, one file each."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coincide.objective import Objective, Term
from coincide.optimisers.level import Level, filled
from coincide.optimisers.optimiser import Optimiser
from coincide.registry import Chainable, Ways, build

KEYS = ("about", "ways", "levels", "window")


@dataclass(frozen=True)
class Preset:
    """Settings that suit a kind of image pair.

    Args:
        about: For whom, one line.
        ways: What is done, one after the other, as text such as `affine >> displacement`.
        levels: Coarse to fine, what a deformation minimises on each and how; empty, or where a
            level does not say: chosen by whether the two contrasts agree, and by how many voxels
            there are.
        window: Hounsfield units outside this range are cut, in images that have values below
            -500; empty: none are.

    Raises:
        ValueError: if the window is no range.
    """

    about: str = ""
    ways: str | Ways = "affine >> displacement"
    levels: tuple[Level, ...] = ()
    window: tuple[float, ...] = ()

    def __post_init__(self):
        if self.window and not (len(self.window) == 2 and self.window[0] < self.window[1]):
            raise ValueError(f"a window is a low and a high value, not {self.window}")

    def with_steps(self, *steps: int) -> "Preset":
        """The same with so many steps on each level, coarse to fine; the last is the finest."""
        return replace(
            self, levels=filled([Level(steps=n) for n in steps], self.levels or [Level()])
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain text and numbers, ready for TOML; what is default is left out."""
        found: dict[str, Any] = {"about": self.about} if self.about else {}
        found["ways"] = str(self.ways)
        if self.window:
            found["window"] = list(self.window)
        if self.levels:
            found["levels"] = [level.settings() for level in self.levels]
        return found

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], name: str) -> "Preset":
        """The preset that `to_dict` wrote, other keys left aside.

        Args:
            settings: What a TOML file holds.
            name: What to call it in errors.

        Raises:
            ValueError: if a value is not what it must be, saying which.
        """
        try:
            return cls(
                about=str(settings.get("about", "")),
                ways=str(settings.get("ways", cls.ways)),
                levels=tuple(Level(**level) for level in settings.get("levels", ())),
                window=tuple(float(value) for value in settings.get("window", ())),
            )
        except TypeError as error:
            raise ValueError(
                f"{name} does not hold a preset: {error}; a level takes spacing, steps, objective, "
                "optimiser, tolerance and window"
            ) from None


def read_ways(given: Any) -> Ways:
    """A chain of ways from text, from one way or transform, or as it is.

    Raises:
        ValueError: if it is none.
    """
    found = build(given, among=Chainable) if isinstance(given, str) else given
    if isinstance(found, Ways):
        return found
    try:
        return Ways([found])
    except TypeError:
        raise ValueError(
            f"{given!r} is no way to a transform; write such as 'affine >> displacement'"
        ) from None


def read_preset(path: Path) -> Preset:
    """A preset from a TOML file: one of one's own, or the `settings.toml` of a run.

    Raises:
        ValueError: if it is none, or names a part that there is not, saying which.
    """
    found = _read(path)
    read_ways(found.ways)
    for level in found.levels:
        for text, kind in ((level.objective, (Term, Objective)), (level.optimiser, Optimiser)):
            if text:
                build(str(text), kind)
    return found


def _read(path: Path) -> Preset:
    try:
        settings = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a preset: {error}") from None
    unknown = sorted(set(settings) - set(KEYS))
    if (
        unknown and "version" not in settings
    ):  # a settings.toml says more: which images, which start
        raise ValueError(f"{path} has unknown settings {unknown}; a preset has {', '.join(KEYS)}")
    return Preset.from_dict(settings, str(path))


FIRST = ("auto", "fast", "accurate")  # how they are listed
PRESETS: Mapping[str, Preset] = {
    name: _read(Path(__file__).with_name(f"{name}.toml"))  # its parts are imported when used
    for name in dict.fromkeys(
        (*FIRST, *sorted(path.stem for path in Path(__file__).parent.glob("*.toml")))
    )
}


def preset(name: str | Path) -> Preset:
    """The preset of that name, or in that TOML file.

    Raises:
        ValueError: naming the ones there are.
    """
    if str(name) in PRESETS:
        return PRESETS[str(name)]
    if Path(name).suffix == ".toml":
        if not Path(name).is_file():
            raise ValueError(f"there is no file {name}")
        return read_preset(Path(name))
    raise ValueError(
        f"no preset is called {str(name)!r}; known: {', '.join(PRESETS)}, or a file such as my.toml"
    )

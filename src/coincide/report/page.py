"""Page: one self-contained HTML file that shows registrations to a person."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from coincide.files.atomic import atomic
from coincide.registration import Registration
from coincide.report.outliers import FEWEST, LIMIT, outliers
from coincide.report.pair import pair
from coincide.report.versions import versions

SCRIPTS = (
    "volumes.js",
    "layers.js",
    "contours.js",
    "deformation.js",
    "painting.js",
    "window.js",
    "controls.js",
    "pointer.js",
    "viewer.js",
    "selftest.js",
    "start.js",
)
# pairs on a page, voxels an axis of each: a pair of 256 voxels takes about 6 MB, of 176 two
RESOLUTIONS: tuple[tuple[int, int | None], ...] = ((1, None), (4, 256), (16, 176))
COARSEST = 112


def write_report(
    registrations: Sequence[Registration],
    path: str | os.PathLike[str],
    *,
    scores: Sequence[Mapping[str, Any] | None] | None = None,
) -> Path:
    """Write one HTML file with a slice viewer, scores, cost curves and settings.

    The file needs no network and no other file: everything is inside. It appears whole or not at
    all.

    Args:
        registrations: What to show, one or more.
        path: File to write, `.html`; one that exists is replaced.
        scores: For each registration what `evaluate(...).to_dict()` gave, or None.

    Returns:
        The path written.

    Raises:
        ValueError: if there is nothing to show, or not one of each for each registration.
    """
    path = Path(path)
    text = page(registrations, scores=scores)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def page(
    registrations: Sequence[Registration],
    *,
    scores: Sequence[Mapping[str, Any] | None] | None = None,
) -> str:
    """The text of the page; see `write_report`."""
    if not registrations:
        raise ValueError("there is nothing to report; give at least one registration")
    count = len(registrations)
    scores = _one_each("scores", scores, count)
    pairs = [
        pair(position, result, score or {}, longest(count))
        for position, (result, score) in enumerate(zip(registrations, scores, strict=True), 1)
    ]
    odd = outliers(
        [
            {**{f.name: f.value for f in each["figures"]}, "Similarity gain": each["gain"]}
            for each in pairs
        ]
    )
    room = files("coincide.report")
    from jinja2 import Environment, StrictUndefined  # slow to import, and only needed here

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, decimals=decimals, figured=figured)
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    return template.render(
        pairs=pairs,
        headings={f.name: f.unit for each in pairs for f in each["figures"]},
        outliers=odd,
        fewest=FEWEST,
        limit=LIMIT,
        versions=versions(),
        made=datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
        style=Markup((room / "page.css").read_text(encoding="utf-8")),
        script=Markup("\n".join((room / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    )


def _one_each(what: str, given: Sequence[Any] | None, count: int) -> Sequence[Any]:
    if given is None:
        return [None] * count
    if len(given) != count:
        raise ValueError(
            f"{len(given)} {what} were given for {count} registrations; "
            "give one each, None where there is none"
        )
    return given


def number(value: Any, digits: int = 3) -> str:
    """A number as people read it: few digits, a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    text = f"{value:.{digits}g}"
    return (text if "e" not in text else f"{value:.2e}").replace("-", "\u2212")


def decimals(value: float | None, count: int) -> str:
    """A number with a given count of decimals, as columns need it; a dash where there is none."""
    return "–" if value is None else f"{value:.{count}f}".replace("-", "\u2212")


def figured(value: float, count: int) -> str:
    """A headline number: 0 for nothing at all, and not 0.000 for a little."""
    if not value:
        return "0"
    if abs(value) < 0.5 * 10**-count:
        return f"< {10**-count:.{count}f}"
    return decimals(value, count)


def longest(pairs: int) -> int | None:
    """Voxels an axis for each pair: a page of a whole cohort must still open."""
    return next((most for count, most in RESOLUTIONS if pairs <= count), COARSEST)

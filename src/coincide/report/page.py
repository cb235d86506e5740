"""Page: one self-contained HTML file that shows registrations to a person."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from coincide.files.atomic import atomic
from coincide.registration import Registration
from coincide.report.curves import curves
from coincide.report.slices import Slices
from coincide.report.summary import figures, label_rows, sentence, title
from coincide.report.versions import versions

SCRIPTS = ("volumes.js", "viewer.js", "selftest.js", "start.js")


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
        ValueError: if there is nothing to show, or not one score for each registration.
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
    if scores is None:
        scores = [None] * len(registrations)
    if len(scores) != len(registrations):
        raise ValueError(
            f"{len(scores)} scores were given for {len(registrations)} registrations; "
            "give one each, None where there is none"
        )
    pairs = [
        _pair(number, result, score or {})
        for number, (result, score) in enumerate(zip(registrations, scores, strict=True), 1)
    ]
    room = files("coincide.report")
    from jinja2 import Environment, StrictUndefined  # slow to import, and only needed here

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number, decimals=decimals)
    template = environment.from_string((room / "page.html").read_text(encoding="utf-8"))
    return template.render(
        pairs=pairs,
        headings={f.name: f.unit for pair in pairs for f in pair["figures"]},
        versions=versions(),
        made=datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
        style=Markup((room / "page.css").read_text(encoding="utf-8")),
        script=Markup("\n".join((room / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    )


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


def _pair(position: int, result: Registration, score: Mapping[str, Any]) -> dict[str, Any]:
    drawable = result.fixed.dim in (2, 3)
    data = json.dumps(Slices(result).data() if drawable else None)
    return {
        "id": f"pair-{position}",
        "title": title(result, position),
        "sentence": sentence(result),
        "warnings": result.warnings,
        "figures": figures(result, score),
        "planes": ["axial", "coronal", "sagittal"] if result.fixed.dim == 3 else ["image"],
        # no text in the data can end the element that holds it
        "data": Markup(data.replace("<", "\\u003c")),
        "drawable": drawable,
        "curves": [(curve, Markup(curve.svg)) for curve in curves(result.history)],
        "candidates": result.candidates,
        "margin": _margin(result),
        "score": score,
        "labels": label_rows(score),
        "grids": [("fixed", result.fixed), ("moving", result.moving)],
        "settings": {str(k): _written(v) for k, v in result.settings.items()},
        "seconds": result.seconds,
        "total": sum(result.seconds.values()),
    }


def _margin(result: Registration) -> float | None:
    """How much worse the runner-up of the initialisation was, %; None without one."""
    if len(result.candidates) < 2:
        return None
    best, second = result.candidates[0].cost, result.candidates[1].cost
    return 100 * (second - best) / abs(best) if best else None


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} = {_written(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_written(v) for v in value)
    return str(value)

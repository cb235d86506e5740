"""Points of 3D Slicer: .mrk.json (markups) and the older .fcsv."""

import copy
import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from coincide.files.point_file import PointFile, known_as, numbers

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
TRUTH = ("selected", "locked", "visibility")
TEXT = ("id", "label", "description", "associatedNodeID")
ORIENTATION = ("ow", "ox", "oy", "oz")
STATE = ("vis", "sel", "lock")
FCSV = ("id", *"xyz", *ORIENTATION, *STATE, "label", "desc", "associatedNodeID")
USUAL = dict(zip(FCSV[4:11], ("0", "0", "0", "1", "1", "1", "0"), strict=True))
SYSTEMS = {"0": "ras", "1": "lps", "2": "pixel", "ijk": "pixel"}


def read_markups(text: str, path: Path) -> PointFile:
    """The control points of all markups of a .mrk.json that have a position.

    Raises:
        ValueError: if it is not one, or its markups lie in different worlds.
    """
    try:
        content = json.loads(text)
        markups = content["markups"]
        worlds = {str(m.get("coordinateSystem", "LPS")).lower() for m in markups}
        places = [
            (m, p)
            for m, markup in enumerate(markups)
            for p, point in enumerate(markup["controlPoints"])
            # a point that was named but not yet placed has none
            if point.get("position") and point.get("positionStatus", "defined") == "defined"
        ]
        points = [markups[m]["controlPoints"][p] for m, p in places]
        rows = [[str(value) for value in point["position"]] for point in points]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"{path} is not a 3D Slicer markup file (.mrk.json)") from None
    if not places:
        raise ValueError(f"{path} holds no points")
    if len(worlds) > 1:
        raise ValueError(f"the markups of {path} lie in different worlds; save them one by one")

    def rewritten(moved: np.ndarray) -> str:
        changed = copy.deepcopy(content)
        for (m, p), row in zip(places, moved.tolist(), strict=True):
            changed["markups"][m]["controlPoints"][p]["position"] = row
        return json.dumps(changed, indent=4, ensure_ascii=False) + "\n"

    columns = {
        key: [_text(point.get(key, "")) for point in points]
        for key in (*TEXT, *TRUTH)
        if any(key in point for point in points)
    }
    said = worlds.pop()
    return PointFile(
        path, "markups", numbers(rows, path), SYSTEMS.get(said, said), rewritten, columns
    )


def markups_of(points: np.ndarray, columns: Mapping[str, Sequence[str]]) -> str:
    """A .mrk.json of LPS points (P, 3), with the columns that it can hold."""
    known = known_as(columns)
    controls = []
    for n, point in enumerate(points.tolist()):
        control = {"id": str(n + 1), "label": f"F-{n + 1}"}
        control |= {key: known[key][n] for key in TEXT if key in known}
        control |= {key: known[key][n].lower() in ("1", "true") for key in TRUTH if key in known}
        controls.append(control | {"position": point, "positionStatus": "defined"})
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "coordinateUnits": "mm"}
    content = {"@schema": SCHEMA, "markups": [markup | {"controlPoints": controls}]}
    return json.dumps(content, indent=4, ensure_ascii=False) + "\n"


def read_fcsv(text: str, path: Path) -> PointFile:
    """The points of a .fcsv; its header and all other cells are kept for writing.

    Raises:
        ValueError: if it holds no points.
    """
    names: list[str] = [*FCSV]
    said, lines = "ras", text.splitlines()
    where = []
    for n, line in enumerate(lines):
        value = line.partition("=")[2].strip()
        if line.startswith("# CoordinateSystem"):
            said = SYSTEMS.get(value.lower(), value.lower())
        elif line.startswith("# columns"):
            names = [name.strip() for name in value.split(",")]
        elif line.strip() and not line.startswith("#"):
            where.append(n)
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise ValueError(f"{path} has the columns {', '.join(names)}; it needs x, y and z")
    axes = [names.index(axis) for axis in "xyz"]
    cells = {n: next(csv.reader([lines[n]])) for n in where}
    rows = [[cells[n][c] if c < len(cells[n]) else "" for c in axes] for n in where]

    def rewritten(moved: np.ndarray) -> str:
        out = list(lines)
        for n, point in zip(where, moved, strict=True):
            row = list(cells[n])
            for column, value in zip(axes, point, strict=True):
                row[column] = repr(float(value))
            out[n] = _row(row)
        return "\n".join(out) + "\n"

    columns = {
        name: [cells[n][c] if c < len(cells[n]) else "" for n in where]
        for c, name in enumerate(names)
        if c not in axes
    }
    return PointFile(path, "fcsv", numbers(rows, path), said, rewritten, columns)


def fcsv_of(points: np.ndarray, columns: Mapping[str, Sequence[str]]) -> str:
    """A .fcsv of LPS points (P, 3), with the columns that it can hold."""
    known = known_as(columns)
    lines = [
        "# Markups fiducial file version = 5.0",
        "# CoordinateSystem = LPS",
        f"# columns = {','.join(FCSV)}",
    ]
    for n, point in enumerate(points.tolist()):
        cells = {**USUAL, "id": str(n + 1), "label": f"F-{n + 1}", "desc": ""}
        cells["associatedNodeID"] = ""
        cells |= {axis: repr(value) for axis, value in zip("xyz", point, strict=True)}
        for name in FCSV:
            wanted = next(iter(known_as({name: ()})))
            if wanted in known:
                cells[name] = {"true": "1", "false": "0"}.get(known[wanted][n], known[wanted][n])
        lines.append(_row([cells[name] for name in FCSV]))
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(row: Sequence[str]) -> str:
    out = StringIO()
    csv.writer(out, lineterminator="").writerow(row)
    return out.getvalue()

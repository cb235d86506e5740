"""Label table: names or numbers of labels, as programs write them down beside a label map."""

import csv
import json
import re
import tomllib
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

KNOWN = (
    'CSV or TSV with the columns number and name, JSON or TOML such as {"1": "liver"}, a label '
    "description of ITK-SNAP, or a lookup table of FreeSurfer"
)
NUMBERS = ("number", "index", "label", "id", "value", "key", "no", "#no", "labelid", "moving")
NAMES = ("name", "label_name", "labelname", "structure", "region", "organ", "description", "label")
SNAP = re.compile(r'^\s*(\d+)(?:\s+[\d.]+){6}\s+"(.*)"\s*$')  # number, colour, visibility, "name"
FREESURFER = re.compile(r"^\s*(-?\d+)\s+(\S+)(?:\s+\d+){3,4}\s*$")  # number, name, colour


def read_label_table(path: str | Path) -> dict[int, str]:
    """Names of labels by their number.

    | file | what it holds |
    |---|---|
    | `.csv`, `.tsv` | two columns, number and name, in either order; with more columns a heading |
    | `.json`, `.toml` | `{"1": "liver"}`, `{"liver": 1}`, or a table of such called `labels` |
    | ITK-SNAP label description | lines `1 255 0 0 1 1 1 "liver"` |
    | FreeSurfer lookup table | lines `17 Left-Hippocampus 220 216 20 0` |

    Args:
        path: The file, UTF-8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is none of these, a number is not whole, or a number has two names.
    """
    path = Path(path)
    pairs = []
    for first, second in _pairs(path):
        number, name = (first, second) if _whole(first) is not None else (second, first)
        pairs.append((_whole(number), str(name).strip()))
    return dict(_distinct(pairs, path, "name"))


def read_label_map(path: str | Path) -> dict[int, int]:
    """Which number of a moving label map means the same organ as which number of the fixed one.

    Args:
        path: CSV or TSV of two columns, with the heading `moving,fixed` in either order or without
            one, moving first; or JSON or TOML such as `{"5": 3}`, moving to fixed.

    Returns:
        Moving number to fixed number.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything but pairs of whole numbers, or a moving number twice.
    """
    path = Path(path)
    pairs = [(_whole(moving), _whole(fixed)) for moving, fixed in _pairs(path, numbers=True)]
    bad = [n for n, pair in enumerate(pairs, 1) if None in pair]
    if bad:
        raise ValueError(
            f"{path}: entries {bad[:8]} are not two whole numbers; each says moving, fixed"
        )
    return dict(_distinct(pairs, path, "fixed number"))


def _pairs(path: Path, *, numbers: bool = False) -> list[tuple[Any, Any]]:
    """What is beside each other in the file, name and number or two numbers."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text; a label table is {KNOWN}") from None
    suffix = path.suffix.lower()
    if suffix in (".json", ".toml"):
        return _from_table(text, path, "labels" if not numbers else "moving_label_map")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for pattern in (SNAP, FREESURFER):
        found = [match.groups() for line in lines if (match := pattern.match(line))]
        if found and not numbers:
            if len(found) < len(lines):
                odd = next(line for line in lines if not pattern.match(line))
                raise ValueError(f"{path}: the line {odd!r} is not as the others; mend it")
            return found  # type: ignore[return-value]
    return _from_rows(lines, path, numbers)


def _from_table(text: str, path: Path, inner: str) -> list[tuple[Any, Any]]:
    try:
        held = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if isinstance(held, dict) and isinstance(held.get(inner), dict):
        held = held[inner]
    if not isinstance(held, dict) or any(isinstance(v, dict | list) for v in held.values()):
        keys = ", ".join(list(held)[:6]) if isinstance(held, dict) else "a list"
        raise ValueError(
            f"{path} holds {keys}; it needs one table such as "
            + ('{"1": "liver"}' if inner == "labels" else '{"5": 3}, moving to fixed')
            + f", at the top or called {inner}"
        )
    return list(held.items())


def _from_rows(lines: list[str], path: Path, numbers: bool) -> list[tuple[str, str]]:
    mark = next((m for m in ("\t", ";", ",") if lines and m in lines[0]), None)
    if mark is None:
        raise ValueError(f"{path} is no label table; it needs {KNOWN}")
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(StringIO("\n".join(lines)), delimiter=mark)
    ]
    heading = [cell.lower().replace(" ", "_") for cell in rows[0]]
    if all(_whole(cell) is None for cell in heading):
        columns, body = _columns(heading, path, numbers), rows[1:]
    else:
        columns, body = (0, 1), rows
    short = [n for n, row in enumerate(body, 1) if len(row) <= max(columns)]
    if short or not body:
        raise ValueError(f"{path}: lines {short[:8]} lack a column; it needs {KNOWN}")
    return [(row[columns[0]], row[columns[1]]) for row in body]


def _columns(heading: list[str], path: Path, numbers: bool) -> tuple[int, int]:
    if numbers:
        if {"moving", "fixed"} <= set(heading):
            return heading.index("moving"), heading.index("fixed")
        raise ValueError(
            f"{path} has the columns {', '.join(heading)}; it needs moving and fixed, both numbers"
        )
    name = next((heading.index(n) for n in NAMES if n in heading), None)
    number = next(
        (heading.index(n) for n in NUMBERS if n in heading and heading.index(n) != name), None
    )
    if name is None or number is None:
        raise ValueError(f"{path} has the columns {', '.join(heading)}; it needs number and name")
    return number, name


def _whole(value: Any) -> int | None:
    """A whole number, or None."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _distinct(pairs: Iterable[tuple[Any, Any]], path: Path, what: str) -> list[tuple[Any, Any]]:
    seen: dict[int, Any] = {}
    for number, value in pairs:
        if number is None:
            raise ValueError(f"{path}: {value!r} has no whole number; it needs {KNOWN}")
        if seen.setdefault(number, value) != value:
            raise ValueError(
                f"{path} gives the label {number} two {what}s, {seen[number]!r} and {value!r}"
            )
    if not seen:
        raise ValueError(f"{path} names no label; it needs {KNOWN}")
    return list(seen.items())

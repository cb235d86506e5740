"""Row: one pair of a table, with what is asked for it."""

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".png", ".tiff")
SUFFIXES += (".tif", ".jpg", ".jpeg", ".dcm", ".gz")
# what a folder cannot be called on one of the systems that may read it
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]|^\.|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)')
TAKEN = ("failed", "report.html", "scores.csv")  # what the cohort itself writes


@dataclass(frozen=True)
class Row:
    """One pair.

    Args:
        name: What its folder is called.
        options: Those of `register` as text, `fixed` and `moving` among them; files by their
            absolute paths.
        files: Which of the options are files or folders.
    """

    name: str
    options: Mapping[str, str]
    files: tuple[str, ...]

    def arguments(self, out: Path) -> tuple[str, ...]:
        """The command line that registers the pair into a folder."""
        # written as --name=value, so that a value which begins with a dash is none the less one
        rest = {k: v for k, v in self.options.items() if k not in ("fixed", "moving")}
        given = (f"--{name.replace('_', '-')}={value}" for name, value in rest.items())
        images = (self.options["fixed"], self.options["moving"])
        return ("register", *images, *given, f"--out={out}")


def read_rows(
    path: Path,
    *,
    known: Collection[str],
    files: Collection[str],
    perhaps: Collection[str] = (),
    shared: Mapping[str, str] | None = None,
) -> list[Row]:
    """The pairs of a CSV file.

    Its first line names the columns: `fixed` and `moving`, perhaps `name`, and any option of
    `register`. An empty cell says nothing. Paths are relative to the folder of the file.

    Args:
        path: The table, UTF-8, divided by commas, semicolons or tabs.
        known: Names of all options.
        files: Which of them are always files or folders.
        perhaps: Which are files where the value is the name of one, such as `preset`.
        shared: Options of all pairs that do not say otherwise; paths are relative to the working
            directory.

    Raises:
        ValueError: if a column is unknown or given twice, a cell is missing, or a name cannot be
            that of a folder of its own; says in which line.
    """
    lines = _lines(path)
    columns = _columns(path, lines[0][1], known)
    rows, seen = [], {}
    for number, cells in lines[1:]:
        where = f"line {number} of {path}"
        if len(cells) != len(columns):
            raise ValueError(
                f"{where} has {len(cells)} cells for {len(columns)} columns; quote cells that hold "
                "the divider"
            )
        given = {column: cell for column, cell in zip(columns, cells, strict=True) if cell}
        name = given.pop("name", "")
        here = {k: _resolved(v, path.parent, k in files, k in perhaps) for k, v in given.items()}
        there = {
            k: _resolved(v, Path(), k in files, k in perhaps)
            for k, v in (shared or {}).items()
            if k not in here
        }
        both = here | there
        for needed in ("fixed", "moving"):
            if needed not in both:
                raise ValueError(f"{where} names no {needed} image; fill the column {needed!r}")
        options = {k: value for k, (value, _) in both.items()}
        name = name or f"{stem(options['moving'])}_to_{stem(options['fixed'])}"
        _check(name, where, seen.get(name.casefold()))
        seen[name.casefold()] = number
        known_files = tuple(k for k, (_, is_file) in both.items() if is_file)
        rows.append(Row(name, options, known_files))
    return rows


def stem(path: str) -> str:
    """Name of a file without the suffix of its format, or of a folder."""
    name = Path(path).name
    suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of every line that is not empty."""
    try:
        text = path.read_text("utf-8-sig")  # spreadsheets mark the file in front of the first name
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8; save the table as CSV UTF-8") from None
    head = text.lstrip().partition("\n")[0]
    divider = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=divider)
    lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if len(lines) < 2:
        raise ValueError(
            f"{path} lists no pair; its first line names the columns, such as fixed,moving, and "
            "every further line is a pair"
        )
    return lines


def _columns(path: Path, head: Sequence[str], known: Collection[str]) -> list[str]:
    columns = [cell.lower().replace("-", "_").replace(" ", "_") for cell in head]
    for column, cell in zip(columns, head, strict=True):
        if column != "name" and column not in known:
            near = get_close_matches(column, ["name", *known], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{path} has an unknown column {cell!r}; {hint}known: name, {', '.join(known)}"
            )
        if columns.count(column) > 1:
            raise ValueError(f"{path} has the column {column!r} twice")
    return columns


def _resolved(value: str, folder: Path, always: bool, perhaps: bool) -> tuple[str, bool]:
    """A value, absolute if it is a path, and whether it is one."""
    path = folder / Path(value).expanduser()
    if always or (perhaps and path.is_file()):
        return str(path.resolve()), True
    return value, False


def _check(name: str, where: str, earlier: int | None) -> None:
    """Refuse what cannot be the name of a folder of its own."""
    if FORBIDDEN.search(name.lower()) or name.lower() in TAKEN:
        raise ValueError(
            f"{where} is called {name!r}, which cannot be the name of a folder here; use letters, "
            "digits, - and _"
        )
    if earlier is not None:
        raise ValueError(
            f"lines {earlier} and {where.removeprefix('line ')} are both called {name!r}; give "
            "each pair a name of its own in the column 'name'"
        )

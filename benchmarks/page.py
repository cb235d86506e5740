"""Page: results.csv, and a Markdown page with a table for each kind of pair and a picture."""

import os
from pathlib import Path
from typing import Any

from figures import fronts
from results import Typical, read, typical, write_csv

TITLES = {
    "abdomen": "Abdomen: CT of one person onto MR of another, 20 organs",
    "abdomen-aligned": "The same after Coincide's affine: the deformation alone",
    "cardiac": "Heart: cine MR, contracted onto relaxed",
    "hcp": "Brains of two people, T1, 1 mm, not aligned, 27 structures",
    "hcp-4mm": "Brains of two people, T1, 4 mm",
    "hcp-aligned": "Brains of two people, T1, 1 mm, affinely aligned: the deformation alone",
    "hcp-inverted": "The same, the moving brain with another contrast",
    "hippocampus": "Hippocampi of two people, T1, head and tail",
    "known-flair": "FLAIR onto T1 of one person under a known transform",
    "known-t2": "T2 onto T1 of one person under a known transform",
    "lung": "Lungs at two visits, CT, landmarks",
}
COLUMNS = (
    ("Dice", "dice", "{:.4f}"),
    ("HD95, mm", "hd95_mm", "{:.2f}"),
    ("error: mean, mm", "tre_mean_mm", "{:.2f}"),
    ("95 %", "tre_p95_mm", "{:.2f}"),
    ("folding, %", "folding_pct", "{:.3f}"),
    ("seconds", "seconds", "{:.1f}"),
    ("deformable", "deformable", "{:.1f}"),
    ("CPU seconds", "cpu", "{:.0f}"),
    ("GB", "peak", "{:.1f}"),
)
REFERENCE = "greedy"
BUSY = 0.1

INTRODUCTION = """# Benchmarks

Other registration packages beside Coincide, on the same pairs of images and the same machine,
without a GPU, {threads} threads each. Each runs with settings that its authors recommend or ship as
the default; the list at the end has them. The peers take turns, so that a slow hour of the machine
hits all alike.

*Seconds* is one registration from two files to a transform that is ready for use, without the
import of libraries and without writing; *deformable* the part of it after the linear alignment,
where a peer can tell; *CPU seconds* and *GB* are those of the whole program. Every peer hands over
one displacement field, and one code warps the labels with nearest neighbour, maps the points, and
counts the folding. A row is the mean over the pairs of the median over the repeats.
"""
REPEAT = """## Repeat it

```bash
python benchmarks/peers.py install
python benchmarks/peers.py run --cases {cases} --peers {peers} --repeats {repeats} --out bench
python benchmarks/peers.py report --out bench --page docs/benchmarks.md
```

The images are not part of the project; `COINCIDE_DATA` names their folder, and
`benchmarks/pairs.py` says what is looked for in it.
"""


def write(out: Path, page: Path) -> None:
    """Write everything.

    Args:
        out: Folder of the results; `results.csv` goes there.
        page: Markdown file; its picture goes to `images/` beside it.

    Raises:
        ValueError: if there are no results.
    """
    rows = read(out)
    if not rows:
        raise ValueError(f"no results in {out}; run python benchmarks/peers.py run first")
    write_csv(rows, out / "results.csv")
    found = typical(rows)
    picture = page.parent / "images" / f"{page.stem}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    threads = " or ".join(dict.fromkeys(str(row["threads"]) for row in rows))
    parts = [INTRODUCTION.format(threads=threads), _machine(rows)]
    if fronts(found, picture):
        parts.append(f"![Dice against seconds](images/{picture.name})\n")
    for kind in dict.fromkeys(each.group for each in found):
        parts += [f"## {TITLES.get(kind, kind)}\n", table([e for e in found if e.group == kind])]
    parts += ["## Settings\n", _settings(rows), _repeat(rows)]
    page.write_text("\n".join(parts), "utf-8")


def table(entries: list[Typical]) -> str:
    """One Markdown table: best first, failures last with their reason."""
    columns = [c for c in COLUMNS if any(c[1] in e.values for e in entries)]
    base = next((e.values.get("seconds") for e in entries if e.peer == REFERENCE), None)
    head = ["", *(title for title, _, _ in columns)] + [f"time / {REFERENCE}"] * bool(base)
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for entry in sorted(entries, key=_order):
        cells = [
            form.format(entry.values[k]) if k in entry.values else "" for _, k, form in columns
        ]
        if base:
            cells.append(f"{entry.values['seconds'] / base:.2f}" if entry.cases else "")
        lines.append([entry.peer, *cells])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
    reasons = [f"- {e.peer} failed: {_inline(r)}" for e in entries for r in e.failed]
    return text + ("\n" + "\n".join(reasons) + "\n" if reasons else "")


def _order(entry: Typical) -> tuple[bool, float]:
    values = entry.values
    return not entry.cases, values.get("tre_mean_mm", -values.get("dice", 0.0))


def _machine(rows: list[dict[str, Any]]) -> str:
    lines = [f"Machine: {name}." for name in dict.fromkeys(row["machine"] for row in rows)]
    late = [row["busy"] for row in rows if row["busy"] > BUSY]
    if late:
        lines += [
            "",
            '!!! warning "The times on this page are too long"',
            f"    {len(late)} of {len(rows)} runs began while something else used up to "
            f"{100 * max(late):.0f} % of the processor. The scores do not depend on it.",
        ]
    return "\n".join(lines) + "\n"


def _settings(rows: list[dict[str, Any]]) -> str:
    lines = ["| | version | call |", "|---|---|---|"]
    said = dict.fromkeys(
        (row["peer"], row["version"], row["settings"]) for row in rows if not row["failed"]
    )
    lines += [f"| {peer} | {version} | {_inline(text)} |" for peer, version, text in sorted(said)]
    return "\n".join(lines) + "\n"


def _repeat(rows: list[dict[str, Any]]) -> str:
    return REPEAT.format(
        cases=" ".join(dict.fromkeys(row["case"].split("/")[0] for row in rows)),
        peers=" ".join(dict.fromkeys(row["peer"] for row in rows)),
        repeats=max(row["repeat"] for row in rows),
    )


def _inline(text: str) -> str:
    """Code within a line or a cell of a table."""
    return f"`{text.replace('|', '/').replace('`', chr(39)).replace(os.linesep, ' ')}`"

"""Write docs/cli.md from the commands themselves: `python docs/cli.py > docs/cli.md`."""

import argparse
import inspect
import re
import sys
import textwrap
import warnings

import tyro

from coincide.cli.main import COMMANDS, main

# ruff: noqa: E501 - prose, as long as the lines of the other pages
HEAD = """# Command line

Every command explains itself with `--help`, which this page is made from. The names are those of Python.
"""
# what `--help` has no room for
MORE = {
    "register": """
The fixed image stays, the moving image is mapped; everything found goes into the folder `--out`:

```console
$ coincide register fixed.nii.gz moving.nii.gz --out out --preset brain-mr
```

See [which settings](choosing.md) for presets, ways and objectives, and [masks](masks.md) for where the images count.
Objective and optimiser may differ from level to level, coarse to fine:

```console
$ coincide register fixed.nii.gz moving.nii.gz --out levels --preset brain-mr \\
    --steps "40,20" --objective "ngf; ngf + lncc(radius=2)"
```

```console
$ coincide register fixed.nii.gz moving.nii.gz --out scored --preset affine \\
    --fixed-labels fixed_labels.nii.gz --moving-labels moving_labels.nii.gz --fixed-mask fixed_mask.nii.gz
```
""",
    "batch": """
With a table such as this, `pairs.csv`:

```text
name,fixed,moving,fixed_labels,moving_labels
one,fixed.nii.gz,moving.nii.gz,fixed_labels.nii.gz,moving_labels.nii.gz
two,fixed.nii.gz,moving_t2.nii.gz,,
```

```console
$ coincide batch pairs.csv --out cohort --jobs 2 --preset affine
```

| in `cohort/` | what it is |
|---|---|
| `one/`, `two/` | what `register` writes, and `pair.json`: the SHA-256 of every input, the options, the version |
| `scores.csv` | a row for each pair: `waiting`, `done` or `failed`, the seconds, every score; whole at any time |
| `failed/` | for each pair that failed, why |
| `report.html` | all pairs on one page |

Without names a pair is called after its files, `moving_to_fixed`. To redo a pair, delete its folder. A pair is done
again by itself when the content of its files or its options change, not when they move. The exit code is 1 if any
pair failed; the same command tries those again.
""",
    "warp": """
Brings another image of the moving world to the fixed grid:

```console
$ coincide warp moving_t2.nii.gz out/transform.h5 --on fixed.nii.gz --out warped_t2.nii.gz
```

Label maps want `--interpolation label`. Points marked in the fixed image go with `transform.h5`, points marked in the
moving image with `inverse.h5`; see [where things are](coordinates.md).
""",
    "evaluate": """
```console
$ coincide evaluate out --fixed-labels fixed_labels.nii.gz --moving-labels moving_labels.nii.gz
```
""",
    "report": """
```console
$ coincide report out scored --out report.html
```
""",
    "features": """
```console
$ coincide features fixed.nii.gz --kind structural --out fixed_features.nii.gz
```
""",
    "demo": """
`make demo` does the same from a fresh clone.
""",
    "warmup": """
See [the first run](install.md#the-first-run).
""",
}


def page() -> str:
    """The whole page, Markdown."""
    codes = re.search(r"Exit codes:.*", " ".join(inspect.getdoc(main).split()))
    parts = [HEAD, codes[0] if codes else "", *(section(name) for name in COMMANDS)]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def section(name: str) -> str:
    """One command: what it does, how it is called, every option, and more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other way to ask
        parser = tyro.extras.get_parser(COMMANDS[name], prog=f"coincide {name}")
    lines = [f"## {name}", "", described(COMMANDS[name]), MORE.get(name, "").rstrip(), ""]
    actions = [a for a in parser._actions if a.dest != "help"]
    if actions:
        lines += ["| option | meaning | default |", "|---|---|---|", *map(row, actions)]
    return "\n".join(lines)


def described(command: object) -> str:
    """The docstring without its arguments, examples as blocks."""
    text = (inspect.getdoc(command) or "").partition("\nArgs:")[0].strip()
    found = []
    for block in text.split("\n\n"):
        if block.startswith("    "):
            block = f"```text\n{textwrap.dedent(block)}\n```"
        found.append(block)
    return "\n\n".join(found)


def row(action: argparse.Action) -> str:
    """One option as a row of a table."""
    kind = str(action.metavar or "").removeprefix("[").removesuffix("]").replace("{None}|", "")
    place = action.dest.rpartition(".")[2].upper()
    # a flag has a second spelling that takes it back; the first is what people write
    names = [o for o in action.option_strings if not o.startswith("--no-")] or [f"{place}"]
    name = f"`{names[0]}` {kind}".strip() if action.option_strings else f"`{place}`"
    text = " ".join(str(action.help or "").split())
    default = re.search(r"\(default: (.*)\)$|\((required)\)$", text)
    meaning = text[: default.start()].strip() if default else text
    shown = (default[1] or default[2] or "") if default else ""
    shown = "" if shown in ("None", "-1") else shown
    return f"| {cell(name)} | {cell(meaning)} | {cell(shown)} |"


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())  # UTF-8, whatever the terminal has

"""Build steps of the pages: a reference page for every room, and formulas as MathML."""

import ast
import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1] / "src" / "coincide"
HIDDEN = re.compile(r"kernels\.(\w+\.(loops|numba|torch|triton\w*)|triton_launch)$")
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</(?:span|div)>', re.DOTALL
)


def reference() -> dict[str, list[str]]:
    """Documented modules of every room."""
    rooms: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        text = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        # a kernel is its folder, whose other files are versions of it; a room is no module
        room = path.name == "__init__.py" and not module.startswith("kernels.")
        if room or not text or HIDDEN.match(module):
            continue
        rooms.setdefault(module.split(".")[0], []).append(module)
    return rooms


def on_config(config: Any) -> Any:
    """List the reference pages after the written ones."""
    pages = [{room: f"reference/{room}.md"} for room in reference()]
    config["nav"] = [*config["nav"], {"Reference": pages}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add one page for every room."""
    for room, modules in reference().items():
        text = f"# {room}\n\n" + "\n\n".join(f"::: coincide.{module}" for module in modules)
        files.append(File.generated(config, f"reference/{room}.md", content=text))
    return files


def on_page_content(text: str, **_: Any) -> str:
    """Turn LaTeX into MathML, which browsers show without a script."""
    return FORMULA.sub(_formula, text)


def _formula(match: re.Match) -> str:
    display = "block" if match[1] == "div" else "inline"
    return convert(html.unescape(match[2]), display=display)

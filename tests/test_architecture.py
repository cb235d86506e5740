import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

from torch import nn

import coincide
from coincide.objective import Penalty, Similarity
from coincide.registry import parts

ROOT = Path(coincide.__file__).parent
# the interface of a kernel is the `__init__` of its folder
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py" or path.parent.parent.name == "kernels"
}

# From the top down: a room imports only from its own layer and those before it.
LAYERS = (
    ("space.shapes", "space.grid"),
    ("kernels",),
    ("space",),
    ("registry",),
    ("networks",),
    ("transforms",),
    ("alignment",),
    ("registration",),
    ("objective",),
    ("features",),
    ("similarities", "penalties"),
    ("files",),
    ("synthetic",),
    ("tiles", "route", "destination"),
    ("warp",),
    ("foreground",),
    ("way",),
    ("search",),
    ("optimisers",),
    ("predictors",),
    ("initialise",),
    ("presets",),
    ("auto",),
    ("chain",),
    ("scan",),
    ("settings", "status"),
    ("scores",),
    ("agreement",),
    ("trust",),
    ("report",),
    ("still", "training"),
    ("request",),
    ("record",),
    ("output",),
    ("register",),
    ("cohort",),
    ("cli",),
)
# Methods that hand over to a later room when they are called: `image.save(...)`.
DOORS = {("space.image", "files"), ("transforms.transform", "files")} | {
    ("registration", room) for room in ("files", "scores", "report", "still", "output")
}
NOWHERE_NAMES = {"utils", "core", "common", "helpers", "base", "misc"}
LAZY = ("matplotlib", "jinja2", "nilearn", "ipyniivue")

# compiled loops take flat arrays, and as many as they need
COMPILED = re.compile(r"kernels\.(.+\.)?(loops|triton\w*)")


def layer(module: str) -> int:
    for depth, rooms in enumerate(LAYERS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return depth
    raise AssertionError(f"coincide.{module} stands in no room; give it a place in LAYERS")


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(MODULES[module].read_text("utf-8"))))


def imports(module: str) -> Iterator[str]:
    """Modules of the package that a module imports, also inside its functions."""
    for node in nodes(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coincide."):
            name = str(node.module).removeprefix("coincide.")
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                yield inner if inner in MODULES else name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("coincide."):
                    yield alias.name.removeprefix("coincide.")


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [a.arg for a in function.args.posonlyargs + function.args.args]
    return len([n for n in names if n not in ("self", "cls", "ctx")]) + len(
        function.args.kwonlyargs
    )


def test_imports_point_one_way():
    wrong = [
        f"coincide.{module} imports coincide.{other}"
        for module in MODULES
        for other in imports(module)
        if (module, other.split(".")[0]) not in DOORS and layer(other) > layer(module)
    ]
    assert not wrong


def test_modules_are_short():
    long = [m for m, path in MODULES.items() if len(path.read_text("utf-8").splitlines()) > 300]
    assert not long, "past 300 lines a module has become two"


def test_modules_are_named_after_what_they_hold():
    assert not [module for module in MODULES if NOWHERE_NAMES & set(module.split("."))]


def test_nothing_takes_any_keyword():
    loose = [(m, f.name) for m in MODULES for f in functions(m) if f.args.kwarg is not None]
    assert not loose, "name the arguments"


def test_functions_take_at_most_eight_arguments():
    known = [module for module in MODULES if not COMPILED.fullmatch(module)]
    assert not [(m, f.name) for m in known for f in functions(m) if arguments(f) > 8]


def test_parts_explain_themselves():
    silent = []
    for name, part in parts().items():
        text = inspect.getdoc(part) or ""
        if not part.__doc__ or len(text.splitlines()[0]) <= 15:
            silent.append(f"{name} does not say what it is for")
        if "Args:" not in text and inspect.signature(part).parameters:
            silent.append(f"{name} does not say what its arguments are")
        if issubclass(part, Similarity | Penalty) and "$" not in text and "References:" not in text:
            silent.append(f"{name} gives no equation, nor where it is printed")
        if is_dataclass(part):
            missing = [f.name for f in fields(part) if f"{f.name}:" not in text]
            silent += [f"{name} does not explain {field}" for field in missing]
    assert not silent


def test_parts_are_frozen_dataclasses_or_modules():
    others = {name: part for name, part in parts().items() if not issubclass(part, nn.Module)}
    assert not [name for name, part in others.items() if not part.__dataclass_params__.frozen]


def test_no_concrete_class_is_subclassed():
    wrong = [
        f"{name} inherits from {parent.__name__}"
        for name, part in parts().items()
        for parent in part.__mro__[1:]
        if parent.__module__.startswith("coincide.") and not inspect.isabstract(parent)
    ]
    assert not wrong


def test_importing_the_package_leaves_the_slow_libraries_alone():
    code = f"import sys, coincide; print([m for m in {LAZY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

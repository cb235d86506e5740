import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
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
    ("transforms",),
    ("alignment",),
    ("registration",),
    ("objective",),
    ("features",),
    ("similarities", "penalties"),
    ("files",),
    ("synthetic",),
    ("foreground",),
    ("way",),
    ("search",),
    ("optimise",),
    ("initialise",),
    ("presets",),
    ("auto",),
    ("chain",),
    ("settings",),
    ("scores",),
    ("trust",),
    ("report",),
    ("output",),
    ("register",),
    ("cli",),
)
# Methods that hand over to a later room when they are called: `image.save(...)`.
DOORS = {("space.image", "files"), ("transforms.transform", "files")}
NOWHERE_NAMES = {"utils", "core", "common", "helpers", "base", "misc"}
LAZY = ("matplotlib", "jinja2", "nilearn")

every_module = pytest.mark.parametrize("module", MODULES)
every_part = pytest.mark.parametrize("part", parts().values(), ids=parts())


def layer(module: str) -> int:
    for depth, rooms in enumerate(LAYERS):
        if any(module == room or module.startswith(f"{room}.") for room in rooms):
            return depth
    raise AssertionError(f"coincide.{module} stands in no room; give it a place in LAYERS")


def imports(module: str) -> Iterator[str]:
    """Modules of the package that a module imports, also inside its functions."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
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
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@every_module
def test_imports_point_one_way(module):
    for other in imports(module):
        room = other.split(".")[0]
        if (module, room) not in DOORS:
            assert layer(other) <= layer(module), f"coincide.{module} imports coincide.{other}"


@every_module
def test_a_module_is_short(module):
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= 300


@every_module
def test_a_module_is_named_after_what_it_holds(module):
    assert not NOWHERE_NAMES & set(module.split("."))


@every_module
def test_nothing_takes_any_keyword(module):
    loose = [f.name for f in functions(module) if f.args.kwarg is not None]
    assert not loose, f"{loose} take any keyword; name the arguments"


# compiled loops take flat arrays, and as many as they need
COMPILED = re.compile(r"kernels\.(.+\.)?(loops|triton\w*)")


@pytest.mark.parametrize("module", [m for m in MODULES if not COMPILED.fullmatch(m)])
def test_at_most_eight_arguments(module):
    for function in functions(module):
        names = [a.arg for a in function.args.posonlyargs + function.args.args]
        names = [n for n in names if n not in ("self", "cls", "ctx")]
        assert len(names) + len(function.args.kwonlyargs) <= 8, function.name


def test_every_package_says_what_it_is_for_or_nothing():
    for package in pkgutil.iter_modules([str(ROOT)]):
        if package.ispkg:
            assert (ROOT / package.name / "__init__.py").exists()


@every_part
def test_a_part_explains_itself(part):
    text = inspect.getdoc(part) or ""
    assert part.__doc__, f"{part.__name__} has no docstring"
    assert "Args:" in text or not inspect.signature(part).parameters, "say what its Args are"
    if issubclass(part, Similarity | Penalty):
        assert "$" in text or "References:" in text, "give the equation or where it is printed"


@every_part
def test_a_part_is_a_frozen_dataclass_or_a_module(part):
    if not issubclass(part, nn.Module):
        assert part.__dataclass_params__.frozen


@every_part
def test_no_concrete_class_is_subclassed(part):
    for parent in part.__mro__[1:]:
        if parent.__module__.startswith("coincide."):
            assert inspect.isabstract(parent), f"{part.__name__} inherits from {parent.__name__}"


def test_importing_the_package_leaves_the_slow_libraries_alone():
    code = f"import sys, coincide; print([m for m in {LAZY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""What is installed: every import is declared, and a wheel runs without the checkout."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CALLED = {"pil": "pillow"}  # imported by another name than it is installed by
# it comes with torch for CUDA, and is imported only where it is found
WITH_TORCH = {"triton"}


def distribution(name: str) -> str:
    name = name.lower().replace("_", "-")
    return CALLED.get(name, name)


def imported() -> dict[str, set[str]]:
    """Packages that the sources import, and whether when they are imported or later."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        inner = {
            id(node)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
        }
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            for name in {name.partition(".")[0] for name in names} - {"coincide"}:
                if name not in sys.stdlib_module_names:
                    found.setdefault(distribution(name), set()).add(
                        "later" if id(node) in inner else "first"
                    )
    return found


def declared(lines: list[str]) -> set[str]:
    return {distribution(re.split(r"[\s<>=!~;\[]", line)[0]) for line in lines}


NEEDED = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def test_every_import_is_declared():
    optional = set().union(*EXTRAS.values())
    assert not set(imported()) - NEEDED - optional - WITH_TORCH
    always = {name for name, times in imported().items() if "first" in times}
    assert not always - NEEDED - WITH_TORCH, "an extra may be imported only where it is used"


def test_every_dependency_is_imported():
    assert not NEEDED - set(imported())
    assert not EXTRAS["demo"] - set(imported())
    assert not EXTRAS["dicom"] - set(imported())


def test_the_page_on_installing_names_every_extra():
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    assert not [name for name in EXTRAS if f"`{name}`" not in page]
    assert PROJECT["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in page


def test_modules_of_one_system_are_asked_for_behind_a_guard():
    """What only POSIX or only Windows has would end the import elsewhere."""
    only = {"fcntl", "resource", "pwd", "grp", "termios", "msvcrt", "winreg"}
    calls = re.compile(r"os\.(fork|sched_\w+|getuid|geteuid|mkfifo|setsid|killpg)\(")
    loose = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text("utf-8")
        found = [node for node in ast.parse(text).body if isinstance(node, ast.Import)]
        names = {alias.name for node in found for alias in node.names}
        loose += [f"{path.name} imports {name}" for name in names & only]
        loose += [
            f"{path.name} calls {call[0]}"
            for call in calls.finditer(text)
            if f'hasattr(os, "{call[1]}")' not in text
        ]
    assert not loose


@pytest.mark.slow
def test_a_wheel_runs_without_the_checkout(tmp_path):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling builds the wheel, and is not installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        inside = set(packed.namelist())
    room = ROOT / "src"
    kept = {".py", ".toml", ".html", ".css", ".js", ".typed"}
    wanted = {p.relative_to(room).as_posix() for p in room.rglob("*") if p.suffix in kept}
    wanted.add("coincide/py.typed")
    assert not wanted - inside
    assert not [name for name in inside if not name.startswith("coincide")]

    place = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    scripts = place / ("Scripts" if os.name == "nt" else "bin")
    site = sysconfig.get_path(
        "purelib", "nt" if os.name == "nt" else "posix_prefix", {"base": str(place)}
    )
    # what runs this test stays installed: without the second option pip would take it away
    options = ["--no-deps", "--ignore-installed", "--prefix", str(place)]
    subprocess.run([*pip, "install", *options, str(wheel)], check=True)
    # what it depends on is borrowed; a path in a .pth file brings no .pth files of its own
    (Path(site) / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python = str(scripts / "python")
    where = run(python, "-c", "import coincide; print(coincide.__file__)").strip()
    assert Path(where).is_relative_to(place)
    program = [python, "-c", "from coincide.cli.main import main; main()"]
    assert "register" in run(*program, "--help")
    code = (
        "import coincide as co\n"
        "from coincide.synthetic.phantoms import textured\n"
        "for n in (1, 2):\n"
        "    co.write_image(textured((24, 22), seed=n).image, f'{n}.nii.gz')\n"
    )
    run(python, "-c", code)
    run(*program, "register", "1.nii.gz", "2.nii.gz", "--out", "out", "--preset", "rigid")
    assert "<style>" in (tmp_path / "out" / "report.html").read_text("utf-8")


WARM = """
import sys
import tempfile
from pathlib import Path

import coincide as co
from coincide.cli.main import main
from coincide.kernels.compile import LOOPS, cached
from coincide.synthetic.contrasts import remap
from coincide.synthetic.phantoms import textured


def compiled():
    functions = {f"{one.py_func.__module__}.{one.py_func.__name__}": one for one in LOOPS}
    return {(name, s) for name, one in functions.items() for s in one.signatures}


main(["warmup"])
warm, (count, _) = compiled(), cached()
with tempfile.TemporaryDirectory() as place:
    for shape in ((61, 50), (40, 44, 37)):
        names = [str(Path(place, f"{which}{len(shape)}.nii.gz")) for which in ("fixed", "moving")]
        for seed, name in enumerate(names):
            image = textured(shape, seed=seed, spacing=1.7).image
            image = remap(image, seed=4) if seed else image
            co.write_image(image.with_data((1000 * image.data).short()), name)
        for preset in ("auto", "brain-mr", "abdomen", "small"):
            main(["register", *names, "--preset", preset, "--out", place + "/" + preset + name[-8]])
print(sorted(compiled() - warm))
print(len(warm), cached()[0] - count)
"""


@pytest.mark.slow
def test_after_a_warmup_registrations_compile_nothing(tmp_path):
    """Asked of each loop and of a folder of its own, as other tests leave machine code too."""
    done = subprocess.run(
        [sys.executable, "-c", WARM],
        cwd=tmp_path,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "compiled")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, new, counts = done.stdout.splitlines()
    assert new == "[]"
    warm, more = map(int, counts.split())
    assert warm > 20
    assert more == 0
    assert "compiled " in done.stdout
    assert " are kept in " in done.stdout
    assert "compiling for 3-D brain-mr" in done.stderr

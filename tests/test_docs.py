import re
import shlex
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest
import torch

from coincide import registry
from coincide.cli.main import COMMANDS, main
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.synthetic.contrasts import remap
from coincide.synthetic.deformations import smooth_displacement
from coincide.synthetic.phantoms import textured

ROOT = Path(__file__).resolve().parents[1]
WARMUP = "coincide warmup"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|console|sh)\b[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, code and first line of every block that a reader could run."""
    text = page.read_text("utf-8")
    return [(m[1], m[2], text[: m.start(2)].count("\n")) for m in BLOCK.finditer(text)]


@pytest.fixture(scope="session")
def small_files(tmp_path_factory) -> Path:
    """The files that the pages speak of."""
    folder = tmp_path_factory.mktemp("small")
    phantom = textured((32, 32, 32), seed=1, spacing=2.5)
    grid = phantom.image.grid
    bent = smooth_displacement(grid, peak=4, sigma=16, seed=2).displacement(grid).detach()
    moving = resample(phantom.image, grid, bent)
    files = {
        "fixed": phantom.image,
        "moving": moving,
        "moving_t2": remap(moving, seed=3, noise=0.01),
        "fixed_labels": phantom.labels,
        "moving_labels": resample(phantom.labels, grid, bent, interpolation="label"),
        "fixed_mask": phantom.labels.with_data((phantom.labels.data > 0).to(torch.int16)),
        "lesion": phantom.labels.with_data((phantom.labels.data == 5).to(torch.int16)),
    }
    for name, image in files.items():
        nibabel.save(nifti(image), folder / f"{name}.nii.gz")
    (folder / "pairs.csv").write_text(
        "name,fixed,moving,fixed_labels,moving_labels\n"
        "one,fixed.nii.gz,moving.nii.gz,fixed_labels.nii.gz,moving_labels.nii.gz\n"
        "two,fixed.nii.gz,moving_t2.nii.gz,,\n"
    )
    return folder


def nifti(image: Image) -> nibabel.Nifti1Image:
    data = image.numpy()
    kind = np.float32 if data.dtype.kind == "f" else np.int16
    return nibabel.Nifti1Image(data.astype(kind), image.grid.affine)


def made() -> ModuleType:
    """The script that makes the page of the commands."""
    found = spec_from_file_location("cli_page", ROOT / "docs" / "cli.py")
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_page_of_the_commands_is_what_the_commands_say():
    kept = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert kept == made().page(), "make it anew: python docs/cli.py > docs/cli.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_help_is_on_the_page(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    box = re.compile(r"^\W*(--[a-z][a-z-]*)", re.MULTILINE)
    options = set(box.findall(capsys.readouterr().out)) - {"--help"}
    section = made().section(command)
    assert {name for name in options if f"| `{name}`" not in section} == set()
    assert options or command in ("inspect", "warmup")


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.stem)
def test_code_of_a_page_runs(page, small_files, tmp_path, monkeypatch):
    shutil.copytree(small_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    registry.parts()
    monkeypatch.setattr(registry, "PARTS", dict(registry.PARTS))  # parts of a page end with it
    namespace: dict[str, object] = {"__name__": "page"}
    for language, code, line in blocks(page):
        if language == "python":
            exec(compile("\n" * line + code, str(page), "exec"), namespace)
        else:
            for command in commands(code):
                run(command, monkeypatch)


def commands(code: str) -> list[str]:
    """Calls of the program in a block; what it prints and other programs are left out."""
    lines = code.replace("\\\n", " ").splitlines()
    stripped = [line.removeprefix("$ ").strip() for line in lines]
    # a warmup takes minutes, and has a test of its own
    return [line for line in stripped if line.startswith("coincide ") and line != WARMUP]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = re.sub(r"--minutes \d+", "--steps 3", command)  # a reader has the time
    monkeypatch.setattr(sys, "argv", shlex.split(command, comments=True))
    code = None
    try:
        main()
    except SystemExit as end:
        code = end.code
    assert not code, f"`{command}` ended with {code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text("utf-8")):
        inside = page.parent / target
        assert inside.exists() or "reference/" in target, f"{page.name} links to {target}"

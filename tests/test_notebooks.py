"""The notebooks run from the first cell to the last, and are kept without their outputs."""

import json
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NEEDS = {"two_contrasts": "nilearn", "ct_and_mr": "pydicom"}


def cells(path: Path) -> list[tuple[str, str]]:
    """Name and code of every cell of code."""
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [
        (f"{path.name}, cell {number}", "".join(cell["source"]))
        for number, cell in enumerate(found, 1)
        if cell["cell_type"] == "code"
    ]


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["cohort", "ct_and_mr", "two_contrasts"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    found = json.loads(path.read_text("utf-8"))
    code = [cell for cell in found["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    namespace: dict[str, object] = {"__name__": "notebook"}
    for name, code in cells(path):
        exec(compile(code, name, "exec"), namespace)

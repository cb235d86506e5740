from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import coincide.kernels
from coincide.kernels import backend as dispatch
from coincide.kernels.backend import VARIABLE, backend, room, versions

FOLDER = Path(next(iter(coincide.kernels.__path__)))


@pytest.fixture
def on_cuda(monkeypatch):
    """A tensor that says it is on a GPU, of which this one is new enough for Triton."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    dispatch._check_triton.cache_clear()
    yield SimpleNamespace(device=torch.device("cuda", 0), dtype=torch.float32)
    dispatch._check_triton.cache_clear()


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 1, 4, 4, 4)])
def test_the_cpu_has_its_compiled_loops_in_2d_as_in_3d(shape):
    assert room(torch.zeros(shape)) == "numba"


def test_cuda_has_torch_until_triton_is_asked_for(on_cuda, monkeypatch):
    assert room(on_cuda) == "torch"
    monkeypatch.setenv(VARIABLE, "0")
    assert room(on_cuda) == "torch"
    monkeypatch.setenv(VARIABLE, "1")
    pytest.importorskip("triton", exc_type=ImportError)
    assert room(on_cuda) == "triton"
    on_cuda.dtype = torch.float16  # Triton's kernels know two precisions
    assert room(on_cuda) == "torch"


def test_triton_that_is_asked_for_and_cannot_run_is_an_error(on_cuda, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    with pytest.raises(RuntimeError, match="capability 7"):
        room(on_cuda)


def test_any_other_device_has_torch(on_cuda, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    for kind in ("mps", "xpu", "meta"):
        on_cuda.device = torch.device(kind)
        assert room(on_cuda) == "torch"


def test_a_kernel_without_triton_is_answered_by_torch():
    names = [module.__name__.split(".")[-1] for module in versions("demons", "triton")]
    assert names == ["torch"]


def test_a_gradient_that_the_loops_do_not_give_is_left_to_torch():
    image, mask = torch.rand(1, 1, 5, 5), torch.ones(1, 1, 5, 5, requires_grad=True)
    tensors = {"warped": image, "fixed": image, "mask": mask}
    assert backend("difference.mean_square", tensors).__module__.endswith(".torch")
    with torch.no_grad():
        assert backend("difference.mean_square", tensors).__module__.endswith(".numba")


def test_interfaces_do_not_hold_a_name_that_a_file_beside_them_takes():
    """`import torch` in `warp/__init__.py` would become `warp/torch.py` when that is loaded."""
    looked = 0
    for path in FOLDER.glob("*/__init__.py"):
        beside = {other.stem for other in path.parent.glob("*.py")} - {"__init__", "loops"}
        lines = path.read_text("utf-8").splitlines()
        taken = [line for line in lines if line.startswith("import ") and line.split()[1] in beside]
        assert not taken, f"{path.parent.name}: {taken}"
        looked += len(beside)
    assert looked > 30

import pytest
from interpreted import DEVICE, VARIABLE, load_all


@pytest.fixture
def interpreter(monkeypatch):
    """Triton's interpreter, for the tests that use it and for no other."""
    if DEVICE == "cpu":
        monkeypatch.setenv(VARIABLE, "1")


def pytest_collect_file(file_path, parent):
    """Import them before anything else does that does not want the interpreter, as doctests do."""
    if file_path.name.startswith("test_triton") and "triton" in parent.config.option.markexpr:
        load_all()


def pytest_collection_modifyitems(config, items):
    """Triton's tests take minutes and speak of kernels that are used only where asked for."""
    if "triton" in config.option.markexpr:
        return
    skip = pytest.mark.skip(reason="Triton's kernels; ask for them by -m triton")
    for item in items:
        if item.get_closest_marker("triton"):
            item.add_marker(skip)

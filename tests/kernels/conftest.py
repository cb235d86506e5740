import pytest
from interpreted import DEVICE, VARIABLE


@pytest.fixture
def interpreter(monkeypatch):
    """Triton's interpreter, for the tests that use it and for no other."""
    if DEVICE == "cpu":
        monkeypatch.setenv(VARIABLE, "1")

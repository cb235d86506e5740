import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

ROOT = Path(__file__).resolve().parents[1]

# Rooms whose tensors lie on one grid: there the shape names hold in every call.
CHECKED = ("alignment", "features", "penalties", "similarities", "synthetic")
install_import_hook([f"coincide.{room}" for room in CHECKED], "typechecker.check")

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images beside the project, or where COINCIDE_DATA says."""
    folder = Path(os.environ.get("COINCIDE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}; set COINCIDE_DATA to their folder")
    return folder

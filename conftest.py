import pytest
import torch

from coincide.alignment import Alignment
from coincide.synthetic.phantoms import textured
from coincide.transforms.displacement import Displacement

# These import Triton, which is not there on every machine, and hold no examples.
collect_ignore_glob = ["src/coincide/kernels/*/triton*.py", "src/coincide/kernels/triton_launch.py"]


@pytest.fixture(autouse=True, scope="session")
def names_in_docstrings(doctest_namespace):
    """What an `Example` may use without saying where it comes from."""
    phantom = textured((16, 16, 16), seed=1)
    image = phantom.image
    still = Alignment(image, image, Displacement(grid=image.grid).requires_grad_(False))
    doctest_namespace.update(
        torch=torch,
        image=image,
        labels=phantom.labels,
        fixed=image,
        moving=image,
        alignment=still,
        points=image.grid.points()[:, :5],
    )

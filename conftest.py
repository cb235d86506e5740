import pytest
import torch

from coincide.synthetic.phantoms import textured


@pytest.fixture(autouse=True, scope="session")
def names_in_docstrings(doctest_namespace):
    """What an `Example` may use without saying where it comes from."""
    phantom = textured((16, 16, 16), seed=1)
    doctest_namespace.update(torch=torch, image=phantom.image, labels=phantom.labels)

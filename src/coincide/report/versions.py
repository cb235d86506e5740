"""Versions: what software and machine made a result."""

import os
import platform
from importlib import metadata

PACKAGES = ("coincide", "torch", "numba", "numpy", "scipy", "nibabel", "SimpleITK")


def versions() -> dict[str, str]:
    """Versions of Coincide, of what it computes with, of Python, and the machine.

    Example:
        >>> "coincide" in versions()
        True
    """
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    found["python"] = platform.python_version()
    found["platform"] = platform.platform(terse=True)
    found["processor"] = f"{platform.machine()}, {os.cpu_count()} cores"
    return found

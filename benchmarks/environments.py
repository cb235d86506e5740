"""Environments: every peer in one of its own, so that none meets the libraries of another."""

import shutil
import subprocess
import sys
from pathlib import Path

from catalogue import ENVIRONMENTS, TORCH

HOME = Path.home() / ".cache" / "coincide" / "peers"
READY = "ready"


def python(environment: str, home: Path) -> Path:
    """The interpreter of an environment; empty: the one that is running.

    Raises:
        FileNotFoundError: saying how to install it.
    """
    if not environment:
        return Path(sys.executable)
    if not (home / environment / READY).exists():
        raise FileNotFoundError(
            f"{environment} is not installed; python benchmarks/peers.py install {environment}"
        )
    return home.absolute() / environment / "bin" / "python"


def install(environment: str, home: Path) -> None:
    """Make the environment, or leave it if it is complete.

    Raises:
        ValueError: naming the ones there are.
        subprocess.CalledProcessError: if a package cannot be had.
    """
    if environment not in ENVIRONMENTS:
        raise ValueError(f"no environment {environment!r}; known: {', '.join(ENVIRONMENTS)}")
    folder = home / environment
    if (folder / READY).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # one after the other: torch must be there before anything that asks for it
    for package in ENVIRONMENTS[environment]:
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, _torch() if package == TORCH else package], check=True)
    (folder / READY).touch()


def _torch() -> str:
    """The CPU build by its version where there is no NVIDIA GPU, as in the Makefile."""
    return "torch" if shutil.which("nvidia-smi") else "torch==2.13.0"

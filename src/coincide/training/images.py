"""Images: what a user adds to train on, whatever is in the folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from coincide.files.read import load
from coincide.networks.intensity import normalised
from coincide.report.lattice import spaced
from coincide.space.image import Image
from coincide.space.sampling import resample

SUFFIXES = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".jpg")


def grey_images(paths: Sequence[Path]) -> tuple[list[Tensor], list[str]]:
    """Grey values of images, and of all images in folders, (X, Y, Z) from 0 to 1, and their names.

    Voxels become cubes of the finest edge of each image; a picture is one slice.

    Raises:
        FileNotFoundError: if a path is not there.
        ValueError: if an image cannot be read, or a folder holds none.
    """
    found, names = [], []
    for path in paths:
        for file in _files(path):
            found.append(normalised(_volume(load(file, frame=0).image)))
            names.append(file.name)
    return found, names


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    if not path.is_dir():
        return [path]
    files = [file for file in sorted(path.rglob("*")) if file.name.lower().endswith(SUFFIXES)]
    if not files:
        raise ValueError(f"{path} holds no image; known formats: {', '.join(SUFFIXES)}")
    return files


def _volume(image: Image) -> Tensor:
    """Its voxels as cubes, (X, Y, Z)."""
    cubes = resample(image, spaced(image.grid, np.full(image.dim, image.grid.finest)))
    return cubes.data[0, 0].reshape(*cubes.grid.shape, *(1,) * (3 - image.dim))

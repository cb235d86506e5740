"""Aligned: two contrasts of one anatomy, voxel by voxel, given or made up."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from coincide.synthetic.noise import noise, uniform, whole
from coincide.synthetic.scanner import curved, painted, scanned
from coincide.training.images import grey_images

CLOUDS = 0.2  # how often a scene is a smooth cloud without any shape
FLAT = 0.5  # how often a scene is one slice
SAME = 0.4  # how often both show one contrast through two curves of intensities


def aligned_images(paths: Sequence[Path]) -> tuple[list[Tensor], list[str]]:
    """Pairs from two folders, or two files, (2, X, Y, Z) each, and their names.

    The first image of one folder, by name, belongs to the first of the other, and so on.

    Raises:
        FileNotFoundError: if a path is not there.
        ValueError: if these are not two, or do not hold images of equal number and shape.
    """
    if len(paths) != 2:
        raise ValueError(f"give two folders of aligned images, one a contrast, not {len(paths)}")
    (ones, names), (others, partners) = (grey_images([path]) for path in paths)
    if len(ones) != len(others):
        raise ValueError(
            f"{paths[0]} holds {len(ones)} images and {paths[1]} {len(others)}; each needs its "
            "partner of the same place in the order of names"
        )
    for one, other, name, partner in zip(ones, others, names, partners, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f"{name} has voxels {tuple(one.shape)} and {partner} {tuple(other.shape)}; bring "
                "aligned images to one grid first, as by coincide warp --like"
            )
    found = [torch.stack(two) for two in zip(ones, others, strict=True)]
    return found, [f"{a} {b}" for a, b in zip(names, partners, strict=True)]


def made_up(labels: Tensor, random: torch.Generator) -> Tensor:
    """Two contrasts of a label map (X, Y, Z), (2, X, Y, Z), or of one of its slices, Z = 1."""
    size = len(labels)
    if uniform(random, 0, 1) < FLAT:
        labels = labels[:, :, whole(random, 0, size)][:, :, None]
    a, b, c = labels.shape
    rough = noise((1, a, b, c), whole(random, 6, size // 2), random)[0]
    if uniform(random, 0, 1) < CLOUDS:
        one = other = 0.5 + 0.2 * rough
    else:
        one = painted(labels, random, rough)
        other = one if uniform(random, 0, 1) < SAME else painted(labels, random, rough)
    return torch.stack([scanned(curved(each, random), random) for each in (one, other)])

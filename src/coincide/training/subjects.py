"""Subjects: images and label maps as they are trained on, all on one grid."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from coincide.files.read import load, read_labels
from coincide.foreground import foreground
from coincide.predictors.predictor import shown
from coincide.predictors.working import working_grid
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.orientation import oriented
from coincide.space.sampling import resample
from coincide.training.case import Case

Alignment = Literal["header", "centre"]
MARGIN = 10.0  # mm kept around the foreground, as where a model is used
VOXELS = 400_000  # of the common grid, where nobody says how large they are


@dataclass(frozen=True, eq=False)
class Subjects:
    """All images on one grid.

    Args:
        grid: Where the voxels lie.
        data: Intensities from 0 to 1 of each image, (1, 1, *S).
        masks: Where each shows something, (1, 1, *S), 0 or 1.
        labels: Label map of each, (1, 1, *S) int64; None: it has none.
        centred: Whether the middles of all images lie on each other.
        matrices: From the world of each file to that of the grid, mm to mm, (D+1, D+1) each.
    """

    grid: Grid
    data: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    labels: tuple[Tensor | None, ...]
    centred: bool
    matrices: tuple[np.ndarray, ...]

    @property
    def sha256(self) -> str:
        """Hash of all that is trained on, so that other data are not taken for these."""
        found = hashlib.sha256()
        for held in (*self.data, *self.labels):
            if held is not None:
                found.update(held.contiguous().numpy().tobytes())
        return found.hexdigest()

    def images(self, which: Sequence[int]) -> Image:
        """Some of them as a batch."""
        return Image(
            torch.cat([self.data[i] for i in which]),
            self.grid,
            torch.cat([self.masks[i] for i in which]),
        )

    def label_maps(self, which: Sequence[int]) -> Image | None:
        """The label maps of some of them as a batch; None if one has none."""
        found = [held for i in which if (held := self.labels[i]) is not None]
        return Image(torch.cat(found), self.grid) if len(found) == len(which) else None


def read_subjects(
    cases: Sequence[Case], *, spacing: float = 0.0, alignment: Alignment = "header"
) -> Subjects:
    """Read images, crop them to what they show, and bring them to one grid.

    Args:
        cases: Their files.
        spacing: Edge of the voxels, mm; 0: the finest of the middle image, or what makes about
            400 000 of them.
        alignment: `header`: images lie where their files say; `centre`: their middles lie on each
            other, as of crops of one organ.

    Raises:
        ValueError: if an image cannot be read, or their dimensions differ.
    """
    images, maps = [], []
    for case in cases:
        found = foreground(load(case.image, frame=0).image, margin=MARGIN, name=case.image.name)
        images.append(found.image)
        maps.append(None if case.labels is None else read_labels(case.labels))
    dims = {image.dim for image in images}
    if len(dims) > 1:
        raise ValueError("some images have two axes and some three; give one kind")
    centred = alignment == "centre"
    edge = spacing or float(np.median([image.grid.finest for image in images]))
    grids = [working_grid(image.grid, edge) for image in images]
    common = _around(grids, centred=centred)
    if not spacing and common.voxels > VOXELS:
        edge = round(edge * (common.voxels / VOXELS) ** (1 / common.dim), 2)
        grids = [working_grid(image.grid, edge) for image in images]
        common = _around(grids, centred=centred)
    data, masks, labels, matrices = [], [], [], []
    for image, own, held in zip(images, grids, maps, strict=True):
        place = own if centred else common
        seen = shown(image, place)
        inside = resample(image.with_data(torch.ones_like(image.data)), place).mask
        assert inside is not None
        there = (
            None if held is None else resample(oriented(held), place, interpolation="label").data
        )
        if centred:
            seen, inside = _padded(seen, common.shape, "replicate"), _padded(inside, common.shape)
            there = None if there is None else _padded(there, common.shape)
        data.append(seen)
        masks.append((inside > 0.5).float())
        labels.append(there)
        matrices.append(_matrix(own, common) if centred else np.eye(common.dim + 1))
    return Subjects(common, tuple(data), tuple(masks), tuple(labels), centred, tuple(matrices))


def _around(grids: Sequence[Grid], *, centred: bool) -> Grid:
    """The smallest grid that holds all, of the same voxels."""
    edge, dim = float(grids[0].spacing[0]), grids[0].dim
    if centred:
        shape = np.max([grid.shape for grid in grids], 0)
        middle = np.zeros(dim)
    else:
        corners = np.concatenate([_corners(grid) for grid in grids])
        low, high = corners.min(0), corners.max(0)
        shape, middle = np.ceil((high - low) / edge + 1 - 1e-3).astype(int), (low + high) / 2
    shape = shape + shape % 2
    affine = np.diag([*[edge] * dim, 1.0])
    affine[:-1, -1] = middle - edge * (shape - 1) / 2
    return Grid(tuple(int(n) for n in shape), affine)


def _corners(grid: Grid) -> np.ndarray:
    ends = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(grid.dim, -1)
    return grid.to_world(ends.T)


def _padded(volume: Tensor, shape: tuple[int, ...], mode: str = "constant") -> Tensor:
    """With the same middle, up to half a voxel, continued to a larger shape."""
    before = _before(volume.shape[2:], shape)
    pad = []
    for n, wanted, first in zip(volume.shape[2:], shape, before, strict=True):
        pad = [first, wanted - n - first, *pad]  # torch wants the last axis first
    kind = volume.dtype
    return F.pad(volume.float(), pad, mode=mode).to(kind)


def _before(shape: Sequence[int], wanted: Sequence[int]) -> list[int]:
    """Voxels that are put in front of each axis."""
    return [(large - n) // 2 for n, large in zip(shape, wanted, strict=True)]


def _matrix(own: Grid, common: Grid) -> np.ndarray:
    """World of an image to that of the common grid, where its voxels are put."""
    shift = np.eye(own.dim + 1)
    shift[:-1, -1] = _before(own.shape, common.shape)
    return common.affine @ shift @ own.inverse

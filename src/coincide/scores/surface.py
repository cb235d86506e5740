"""Surface: how far apart the outlines of two label maps lie, in mm."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from coincide.space.grid import Grid


@dataclass(frozen=True)
class Surface:
    """Distances between the surfaces of every label that both maps have.

    Args:
        hd95_mm: Label to 95th percentile Hausdorff distance, mm.
        assd_mm: Label to average symmetric surface distance, mm.
        missing: Labels of the fixed map that the warped map lacks; they have no distance.
    """

    hd95_mm: dict[int, float]
    assd_mm: dict[int, float]
    missing: tuple[int, ...]

    @property
    def mean_hd95_mm(self) -> float | None:
        """Mean over the labels that have a distance, mm; None without any."""
        return float(np.mean(list(self.hd95_mm.values()))) if self.hd95_mm else None

    @property
    def mean_assd_mm(self) -> float | None:
        """Mean over the labels that have a distance, mm; None without any."""
        return float(np.mean(list(self.assd_mm.values()))) if self.assd_mm else None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; labels as text."""
        return {
            "mean_hd95_mm": self.mean_hd95_mm,
            "mean_assd_mm": self.mean_assd_mm,
            "labels": {
                str(label): {"hd95_mm": self.hd95_mm[label], "assd_mm": self.assd_mm[label]}
                for label in self.hd95_mm
            },
            "missing": list(self.missing),
        }


def surface(fixed: np.ndarray, warped: np.ndarray, grid: Grid) -> Surface:
    r"""HD95 and ASSD per label, from the centres of surface voxels.

    The average says how far an outline is off as a rule, HD95 how far at its worst places.
    With $d(a, B)$ the distance of a surface voxel to the other surface, HD95 is the larger of the
    two 95th percentiles, and ASSD the mean of all distances of both directions.

    A surface voxel has a face neighbour outside its label; outside the image is outside.

    Args:
        fixed: Integer labels, (*S); 0 is background.
        warped: Moving labels on the same grid, (*S).
        grid: Where the voxels lie; anisotropic, oblique or sheared.

    Raises:
        ValueError: if a label map does not have the shape of the grid.

    Example:
        >>> import numpy as np
        >>> labels = np.pad(np.ones((4, 4, 4), int), 3)
        >>> surface(labels, np.roll(labels, 1, 0), Grid(labels.shape, np.eye(4))).hd95_mm
        {1: 1.0}

    References:
        Huttenlocher et al. 1993, doi:10.1109/34.232073; Heimann et al. 2009,
        doi:10.1109/TMI.2009.2013851 (ASSD).
    """
    for labels in (fixed, warped):
        if labels.shape != grid.shape:
            raise ValueError(
                f"labels {labels.shape} do not lie on a grid of {grid.shape} voxels; "
                "resample them with interpolation='nearest'"
            )
    known, numbered = _numbered(fixed, warped)
    hd95, assd, missing = {}, {}, []
    boxes = [scipy.ndimage.find_objects(part, max_label=len(known)) for part in numbered]
    for number, (label, one, other) in enumerate(zip(known, *boxes, strict=True), 1):
        if one is None:
            continue
        if other is None:
            missing.append(label)
            continue
        there, back = _distances(
            outline(numbered[0][one] == number, one, grid),
            outline(numbered[1][other] == number, other, grid),
        )
        hd95[label] = float(max(np.percentile(there, 95), np.percentile(back, 95)))
        assd[label] = math.fsum((there.sum(), back.sum())) / (len(there) + len(back))
    return Surface(hd95, assd, tuple(missing))


def outline(label: np.ndarray, box: tuple[slice, ...], grid: Grid) -> np.ndarray:
    """World positions, mm, (N, D), of the surface voxels of a label that fills `box` of a grid."""
    padded = np.pad(label, 1)
    middle = (slice(1, -1),) * label.ndim
    inner = label.copy()
    for axis, n in enumerate(grid.shape):
        if n == 1:
            continue
        for neighbour in (slice(0, -2), slice(2, None)):
            inner &= padded[(*middle[:axis], neighbour, *middle[axis + 1 :])]
    index = np.argwhere(label & ~inner) + [part.start for part in box]
    return grid.to_world(index)


def _distances(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each point to the nearest of the other set, both ways.

    A search tree on surface points does a fraction of the work of a distance map on their box.
    """
    trees = [
        scipy.spatial.KDTree(points, balanced_tree=False, compact_nodes=False)
        for points in (one, other)
    ]
    return trees[1].query(one, workers=-1)[0], trees[0].query(other, workers=-1)[0]


def _numbered(fixed: np.ndarray, warped: np.ndarray) -> tuple[list[int], list[np.ndarray]]:
    """Labels of the fixed map, and both maps with these numbered from 1, all else 0."""
    kept = [np.flatnonzero(labels) for labels in (fixed, warped)]
    values = [labels.reshape(-1)[k] for labels, k in zip((fixed, warped), kept, strict=True)]
    known = np.unique(values[0])
    numbered = []
    for value, k in zip(values, kept, strict=True):
        number = np.searchsorted(known, value)
        held = np.minimum(number, max(len(known) - 1, 0))
        same = known[held] == value if len(known) else np.zeros(len(value), bool)
        part = np.zeros(fixed.size, np.int32)
        part[k] = np.where(same, held + 1, 0)
        numbered.append(part.reshape(fixed.shape))
    return known.tolist(), numbered

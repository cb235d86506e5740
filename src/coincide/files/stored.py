"""Stored: voxels as a file holds them, and how they become an image or a label map."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from coincide.files.layout import copied
from coincide.space.grid import Grid
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels and geometry of one image, before any conversion.

    Args:
        array: (*S) in file axis order, any number type and memory layout.
        affine: (D+1, D+1) voxel index to RAS+ world, mm.
        slope: Value = slope * stored + intercept.
        intercept: See `slope`.
        warnings: One sentence for each oddity.
    """

    array: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()

    def warned(self, *more: str) -> "Stored":
        """The same with further warnings."""
        return replace(self, warnings=self.warnings + more)


def intensities(stored: Stored) -> tuple[Image, tuple[str, ...]]:
    """The image, float32, and what was odd.

    Voxels that are NaN or infinite become 0 and are masked out.
    """
    source = stored.array
    if source.dtype.kind == "c":
        raise ValueError(
            "the voxels are complex numbers; save their magnitude, for instance numpy.abs, first"
        )
    values = copied(source, np.empty(source.shape, np.float32))
    if stored.slope != 1:
        values *= np.float32(stored.slope)
    if stored.intercept != 0:
        values += np.float32(stored.intercept)
    data, grid = torch.from_numpy(values)[None, None], Grid(source.shape, stored.affine)
    # a sum is finite only if all its terms are: one fast pass in place of a mask in memory
    if source.dtype.kind != "f" or bool(torch.isfinite(data.sum())):
        return Image(data, grid), stored.warnings
    good = torch.isfinite(data)
    count = good.numel() - int(good.sum())
    if count == 0:
        return Image(data, grid), stored.warnings
    data.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    note = (
        f"{count} of {data.numel()} voxels ({100 * count / data.numel():.2g} %) are NaN or "
        "infinite; they are set to 0 and masked out"
    )
    return Image(data, grid, good.to(torch.float32)), (*stored.warnings, note)


def labels(stored: Stored) -> tuple[Image, tuple[str, ...]]:
    """The label map, int64, every value exact, and what was odd.

    Raises:
        ValueError: if a value is not a whole number or does not fit 64 bits with a sign.
    """
    source = stored.array
    if stored.slope != 1 or stored.intercept != 0:
        source = source.astype(np.float64) * stored.slope + stored.intercept
    if source.dtype.kind == "f":
        _refuse_fractions(source)
    elif source.dtype == np.uint64 and source.size and source.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"label {source.max()} does not fit int64 (largest {np.iinfo(np.int64).max}); "
            "give the labels smaller numbers"
        )
    elif source.dtype.kind not in "iub":
        raise ValueError(f"labels must be whole numbers, these are {source.dtype}")
    values = copied(source, np.empty(source.shape, np.int64))
    return Image(torch.from_numpy(values)[None, None], Grid(source.shape, stored.affine)), (
        stored.warnings
    )


def _refuse_fractions(source: np.ndarray) -> None:
    bad = source != np.rint(source)
    if bad.any():
        value = source[tuple(np.argwhere(bad)[0])]
        raise ValueError(
            f"labels must be whole numbers, but {int(bad.sum())} voxels are not, such as {value:g};"
            " this may be a probability map or an intensity image: read it with read_image"
        )
    if source.size and np.abs(source).max() >= 2**63:
        raise ValueError(f"label {np.abs(source).max():g} does not fit int64; renumber the labels")

"""Stored: voxels as a file holds them, and how they become an image or a label map."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from coincide.files.layout import copied
from coincide.space.grid import Grid
from coincide.space.image import Image

# what of a file with several numbers a voxel is wanted: one number (colours become luminance, a
# frame must be chosen), colours as they are, or everything
Keep = Literal["one", "colour", "all"]


@dataclass(frozen=True, eq=False)
class Stored:
    """Voxels and geometry of one image, before any conversion.

    Args:
        array: (*S) in file axis order, or (*S, C) where `channels` says so; any number type and
            memory layout.
        affine: (D+1, D+1) voxel index to RAS+ world, mm.
        slope: Value = slope * stored + intercept.
        intercept: See `slope`.
        warnings: One sentence for each oddity.
        channels: What the last axis of the array counts: `colour`, `frames` or `vectors`; empty:
            nothing, it is of space.
        interval: Time between frames, s; 0: unknown.
        intent: Code by which a NIfTI file says what its vectors are; 1007: plain vectors, LPS.
    """

    array: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    warnings: tuple[str, ...] = ()
    channels: str = ""
    interval: float = 0.0
    intent: int = 1007

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        shape = self.array.shape[:-1] if self.channels else self.array.shape
        return Grid(shape, self.affine)

    def warned(self, *more: str) -> "Stored":
        """The same with further warnings."""
        return replace(self, warnings=self.warnings + more)


def intensities(stored: Stored) -> tuple[Image, tuple[str, ...]]:
    """The image, float32, and what was odd.

    Voxels that are NaN or infinite become 0 and are masked out. Several numbers a voxel are
    channels, (1, C, *S).
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
    data, grid = _first(torch.from_numpy(values), stored), stored.grid
    # a sum is finite only if all its terms are: one fast pass in place of a mask in memory
    if source.dtype.kind != "f" or bool(torch.isfinite(data.sum())):
        return Image(data, grid), stored.warnings
    good = torch.isfinite(data).all(1, keepdim=True)
    count = good.numel() - int(good.sum())
    if count == 0:
        return Image(data, grid), stored.warnings
    data.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    note = (
        f"{count} of {good.numel()} voxels ({100 * count / good.numel():.2g} %) are NaN or "
        "infinite; they are set to 0 and masked out"
    )
    return Image(data, grid, good.to(torch.float32)), (*stored.warnings, note)


def refuse_nothing(stored: Stored) -> None:
    """Refuse an image of which no voxel is a number.

    Raises:
        ValueError: if every voxel is NaN or infinite.
    """
    if stored.array.dtype.kind == "f" and not bool(np.isfinite(stored.array).any()):
        raise ValueError("the image holds no numbers: every voxel is NaN or infinite")


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
    return Image(_first(torch.from_numpy(values), stored), stored.grid), stored.warnings


def _first(values: torch.Tensor, stored: Stored) -> torch.Tensor:
    """Voxels (*S) or (*S, C) as (1, C, *S)."""
    if not stored.channels:
        return values[None, None]
    return values.movedim(-1, 0).contiguous()[None]


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

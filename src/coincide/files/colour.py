"""Colour: voxels of red, green and blue, as channels, as luminance, or as NIfTI stores them."""

from pathlib import Path

import numpy as np

from coincide.files.stored import Keep


def luminance(colour: np.ndarray) -> np.ndarray:
    """Brightness of (..., 3 or 4) red, green, blue, by ITU-R BT.709."""
    weights = np.array([0.2126, 0.7152, 0.0722], np.float32)
    return colour[..., :3].astype(np.float32) @ weights


def colours(
    array: np.ndarray, channels: str, keep: Keep, path: Path | str
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Voxels of colour as channels or as luminance; others as they are."""
    if array.dtype.fields is None:
        return array, channels, ()
    if channels:
        raise ValueError(
            f"{path} has {array.shape[-1]} frames of colours; choose one with frame=N (--frame N)"
        )
    colour = np.stack([array[name] for name in array.dtype.names or ()], -1)
    if keep == "one":
        return luminance(colour), "", ("colour voxels (RGB) are turned into their luminance",)
    return colour, "colour", ()


def as_colour(array: np.ndarray) -> np.ndarray:
    """Channels (*S, 3 or 4) of 8 bits as voxels of NIfTI's colour type, (*S)."""
    kind = np.dtype([(name, np.uint8) for name in "RGBA"[: array.shape[-1]]])
    return np.ascontiguousarray(array).view(kind)[..., 0]

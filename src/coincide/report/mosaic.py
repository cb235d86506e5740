"""Mosaic: slices of a volume side by side in pictures that every browser can decode."""

import base64
import io
import math
from typing import Any

import numpy as np
from PIL import Image as Picture

LARGEST = 1 << 24  # pixels of one picture: browsers refuse, or run out of memory, far above


def mosaic(volume: np.ndarray, *, quality: int | None = None) -> dict[str, Any]:
    """All axial slices of a volume, in as few pictures as may be, each as a data address.

    Args:
        volume: (C, *S), uint8 of 1 or 3 channels, or uint16 of one.
        quality: Of JPEG, to 95; None: PNG, exact. Two bytes are written as red and green.

    Returns:
        `sources`; `columns` and `rows` of slices in each; `channels`; `wide`, for two bytes.
    """
    wide = volume.dtype == np.uint16
    volume = volume.reshape(*volume.shape, *[1] * (4 - volume.ndim))
    if wide:
        low, high = (volume & 255).astype(np.uint8), (volume >> 8).astype(np.uint8)
        volume = np.concatenate([low, high, np.zeros_like(low)])
    channels, width, height, depth = volume.shape
    most = max(1, LARGEST // (width * height))
    columns = max(1, min(depth, most, math.ceil(math.sqrt(min(depth, most) * height / width))))
    rows = max(1, min(math.ceil(depth / columns), most // columns))
    together = columns * rows
    sources = []
    for first in range(0, depth, together):
        part = volume[..., first : first + together]
        sheet = np.zeros((rows * columns, height, width, channels), np.uint8)
        sheet[: part.shape[-1]] = part.transpose(3, 2, 1, 0)
        sheet = sheet.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        sheet = np.ascontiguousarray(sheet.reshape(rows * height, columns * width, channels))
        sources.append(address(sheet, quality))
    return {
        "sources": sources,
        "columns": columns,
        "rows": rows,
        "channels": 1 if wide else channels,
        "wide": wide,
    }


def address(sheet: np.ndarray, quality: int | None) -> str:
    """A picture (H, W, 1 or 3) as a data address."""
    stream = io.BytesIO()
    picture = Picture.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet)
    if quality is None:
        picture.save(stream, "PNG", compress_level=3)
    else:
        # colour is as sharp as brightness: stains are told apart by it
        picture.save(stream, "JPEG", quality=quality, subsampling=0)
    kind = "png" if quality is None else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"

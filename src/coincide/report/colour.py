"""Colour: what the pictures of a pair look like, in colour where they have any."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from PIL import UnidentifiedImageError

from coincide.space.image import Image

KINDS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
LUMINANCE = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709, as files are read


def as_shown(image: Image, file: Any = None) -> Image:
    """The first image of a batch with 3 channels, red, green and blue, or with 1.

    Args:
        image: Of three channels: colours; of another number: their mean is shown.
        file: Where it was read from. A colour picture read as its luminance gets its colours back,
            if the file is still there and still shows that luminance.
    """
    data = image.data[:1].detach().to("cpu", torch.float32)
    if data.shape[1] == 3:
        return Image(data, image.grid)
    if data.shape[1] > 1:
        return Image(data.mean(1, keepdim=True), image.grid)
    colours = None if file is None or image.dim != 2 else _colours(Path(file), data[0, 0].numpy())
    return Image(data if colours is None else torch.from_numpy(colours)[None], image.grid)


def _colours(path: Path, luminance: np.ndarray) -> np.ndarray | None:
    """Red, green and blue of a picture, (3, W, H); None where it is not the one with this look."""
    if path.suffix.lower() not in KINDS or not path.is_file():
        return None
    try:
        with Picture.open(path) as picture:
            if picture.mode not in ("RGB", "RGBA", "P") or picture.size != luminance.shape:
                return None
            colours = np.asarray(picture.convert("RGB"), np.float32).transpose(2, 1, 0)
    except (OSError, UnidentifiedImageError, Picture.DecompressionBombError):
        return None  # the report shows the luminance, which it was given
    apart = np.abs(np.tensordot(LUMINANCE, colours, 1) - luminance)
    # decoders of JPEG differ by a step or two; another picture differs by far more
    return np.ascontiguousarray(colours) if float(apart.mean()) < 4 else None


def grey(values: np.ndarray) -> np.ndarray:
    """Brightness of (C, *S), (*S): the luminance of three channels, else the one there is."""
    return values[0] if len(values) == 1 else np.tensordot(LUMINANCE, values, 1)

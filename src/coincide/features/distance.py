"""Distance: how far every place lies from the surfaces of structures."""

import numpy as np
import scipy
import torch

from coincide.space.image import Image


def signed_distance(image: Image, labels: tuple[int, ...], limit: float) -> Image:
    """Distance to the surface of each label, mm, negative inside, cut at `limit`, (B, L, *S).

    The surface runs half a voxel beyond the outermost voxel centres of a label. Outside the mask
    a map says nothing: distances are those to voxels that count.

    Args:
        image: Label map (B, 1, *S) on a grid with perpendicular axes.
        labels: One channel of the result each.
        limit: Distance that is not exceeded, mm (> 0).

    Raises:
        ValueError: if the map has several channels.
    """
    if image.data.shape[1] != 1:
        raise ValueError(f"a label map has one channel, this has {image.data.shape[1]}")
    known = None if image.mask is None else (image.mask > 0).cpu().numpy()[:, 0]
    data = image.data.cpu().numpy()[:, 0]
    out = np.empty((len(data), len(labels), *image.grid.shape), np.float32)
    for b, one in enumerate(data):
        counts = np.ones_like(one, bool) if known is None else known[b % len(known)]
        for channel, label in enumerate(labels):
            _signed(one == label, counts, image.grid.spacing, limit, out[b, channel])
    return image.with_data(torch.from_numpy(out).to(image.data.device))


def _signed(
    inside: np.ndarray, counts: np.ndarray, spacing: np.ndarray, limit: float, out: np.ndarray
) -> None:
    # without the label, and far from it, every place is outside and as far as can be
    out[:] = limit
    inside = inside & counts
    if not inside.any():
        return
    # beyond this box every distance is cut, so that small labels cost little
    box = []
    for axis, step in enumerate(spacing):
        along = np.flatnonzero(inside.any(tuple(d for d in range(inside.ndim) if d != axis)))
        reach = int(np.ceil(limit / step)) + 1
        box.append(slice(max(0, int(along[0]) - reach), int(along[-1]) + reach + 1))
    part, shown = inside[tuple(box)], counts[tuple(box)]
    outside = shown & ~part
    # the distance runs from centre to centre, the surface half a voxel before the second
    half = float(spacing[np.array(inside.shape) > 1].min(initial=np.inf)) / 2
    apart = _to(part, spacing) - half
    # without an outside every place is as deep as can be
    depth = _to(outside, spacing) - half if outside.any() else np.full(part.shape, limit)
    signed = np.where(part, -depth, apart)
    out[tuple(box)] = np.clip(signed, -limit, limit)


def _to(where: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of every voxel to the nearest where something is."""
    return np.asarray(scipy.ndimage.distance_transform_edt(~where, sampling=spacing))

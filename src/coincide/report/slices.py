"""Slices: what the viewer of the page shows, as small 8-bit pictures."""

import base64
import io
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture

from coincide.registration import Registration
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample
from coincide.transforms.jacobian import determinant

LONGEST = 176
STRETCHES = (1.25, 1.5, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Slices:
    """The images of a registration on a lattice whose axes run as they do on the screen.

    The first axis runs to the left of the person, the second to the back, the third to the feet:
    an axial slice then has the person's right on the left of the screen, as radiologists read it.
    Oblique images keep their own planes and are named after the nearest world axes.

    Args:
        result: The registration, of two or three dimensions.
        longest: At most this many voxels along an axis.
    """

    result: Registration
    longest: int = LONGEST

    @cached_property
    def lattice(self) -> Grid:
        """Screen lattice over what the images contain, no finer than the fixed image."""
        whole = facing(self.result.fixed.grid)
        start, stop = self._box(whole)
        spacing = np.maximum(whole.spacing, (whole.spacing * (stop - start)).max() / self.longest)
        return spaced(whole.crop(start.tolist(), stop.tolist()), spacing)

    def data(self) -> dict[str, Any]:
        """Everything the viewer reads, ready for JSON."""
        lattice = self.lattice
        lengthened = [*lattice.shape, *[1] * (3 - lattice.dim)]
        with torch.no_grad():
            field = self._field(lattice)
            pictures = {
                "fixed": (self.result.fixed, None),
                "moving": (self.result.moving, None),
                "warped": (self.result.moving, field),
            }
            volumes = {}
            for name, (image, moved) in pictures.items():
                values = resample(grey(image), lattice, moved).numpy()
                volumes[name] = mosaic(windowed(values, *self._window(name)), "JPEG")
            fewer = spaced(lattice, np.maximum(lattice.spacing, lattice.extent.max() / 128))
            stretch, codes = coded(determinant(self._field(fewer), fewer)[0, 0].numpy())
        return {
            "shape": lengthened,
            "spacing": [*lattice.spacing.tolist(), *[1.0] * (3 - lattice.dim)],
            "affine": lattice.affine.tolist(),
            "dim": lattice.dim,
            "volumes": volumes,
            "jacobian": {
                **mosaic(codes, "PNG"),
                "shape": [*fewer.shape, *[1] * (3 - fewer.dim)],
                "stretch": stretch,
            },
            "field": self._coarse_field(),
        }

    def _field(self, grid: Grid) -> torch.Tensor:
        field = self.result.transform.displacement(grid)[:1].detach().to("cpu", torch.float32)
        # a transform that diverged must still be shown; the scores say that it did
        return torch.nan_to_num(field, nan=0.0, posinf=0.0, neginf=0.0)

    @cached_property
    def _glance(self) -> dict[str, np.ndarray]:
        """The three images on a lattice of few voxels over the whole fixed image."""
        whole = facing(self.result.fixed.grid)
        few = spaced(whole, np.maximum(whole.spacing, whole.extent.max() / 64))
        with torch.no_grad():
            moved = self._field(few)
            moving = grey(self.result.moving)
            return {
                "fixed": resample(grey(self.result.fixed), few).numpy(),
                "moving": resample(moving, few).numpy(),
                "warped": resample(moving, few, moved).numpy(),
            }

    def _window(self, name: str) -> tuple[float, float]:
        """Values shown black and white; those of the moving image serve its warped form too."""
        parts = [self._glance[n] for n in (["fixed"] if name == "fixed" else ["moving", "warped"])]
        values = np.concatenate([part[np.isfinite(part)].ravel() for part in parts])
        if not len(values):
            return 0.0, 1.0
        low = float(np.percentile(values, 0.5))
        inside = values[values > low + 0.04 * (values.max() - low)]
        high = float(np.percentile(inside, 99.7)) if len(inside) else low + 1
        # white matter of a bias-corrected scan is one value: leave room above it
        high += 0.12 * (high - low)
        return low, max(high, low + 1e-6)

    def _box(self, whole: Grid) -> tuple[np.ndarray, np.ndarray]:
        """First and last-but-one voxel of what any of the images contains, with some margin."""
        glance = self._glance
        occupied = np.zeros(glance["fixed"].shape, bool)
        for name, values in glance.items():
            low, high = self._window(name)
            occupied |= np.nan_to_num(values) > low + 0.04 * (high - low)
        shape = np.array(whole.shape)
        if not occupied.any():
            return np.zeros_like(shape), shape
        at = np.argwhere(occupied)
        ratio = shape / np.array(occupied.shape)
        margin = 2 + 0.03 * shape
        start = np.floor(at.min(0) * ratio - margin).astype(int)
        stop = np.ceil((at.max(0) + 1) * ratio + margin).astype(int)
        return np.maximum(start, 0), np.minimum(stop, shape)

    def _coarse_field(self) -> dict[str, Any]:
        """Displacement along the screen axes, mm, on a lattice of few voxels."""
        lattice = self.lattice
        most = 56 if lattice.dim == 3 else self.longest
        spacing = np.maximum(lattice.spacing, lattice.extent.max() / most)
        few = spaced(lattice, spacing)
        world = self._field(few)[0].numpy()
        along = np.einsum("ed,d...->e...", np.linalg.inv(few.direction), world)
        largest = max(float(np.abs(along).max(initial=0)), 1e-3)
        codes = np.round(along / largest * 32767).astype("<i2")
        codes = codes.transpose(0, *range(codes.ndim - 1, 0, -1))
        first = lattice.to_index(few.origin)
        step = few.spacing / lattice.spacing
        missing = 3 - lattice.dim
        return {
            "shape": [*few.shape, *[1] * missing],
            "first": [*first.tolist(), *[0.0] * missing],
            "step": [*step.tolist(), *[1.0] * missing],
            "unit": largest / 32767,
            "codes": base64.b64encode(np.ascontiguousarray(codes).tobytes()).decode(),
        }


def facing(grid: Grid) -> Grid:
    """The same voxels with axes in the order and sense left, posterior, inferior."""
    direction = grid.direction
    left = set(range(grid.dim))
    columns = []
    for world in range(grid.dim):
        axis = max(left, key=lambda a: abs(direction[world, a]))
        left.remove(axis)
        columns.append((axis, direction[world, axis] > 0))
    affine = grid.affine.copy()
    corner = np.zeros(grid.dim)
    for column, (axis, backwards) in enumerate(columns):
        affine[:-1, column] = grid.affine[:-1, axis] * (-1 if backwards else 1)
        corner[axis] = grid.shape[axis] - 1 if backwards else 0
    affine[:-1, -1] = grid.to_world(corner)
    return Grid(tuple(grid.shape[axis] for axis, _ in columns), affine)


def spaced(grid: Grid, spacing: np.ndarray) -> Grid:
    """A lattice of another voxel size, mm, over the same box."""
    shape = np.maximum(1, np.round(grid.extent / spacing)).astype(int)
    factor = np.array(grid.shape) / shape
    affine = grid.affine.copy()
    affine[:-1, :-1] = grid.affine[:-1, :-1] * factor
    affine[:-1, -1] = grid.to_world((factor - 1) / 2)
    return Grid(tuple(shape.tolist()), affine)


def grey(image: Image) -> Image:
    """The first image of the batch as one float channel, the mean of its channels."""
    data = image.data[:1].detach().to("cpu", torch.float32)
    return Image(data.mean(1, keepdim=True) if data.shape[1] > 1 else data, image.grid)


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as 8-bit grey, black at `low` and white at `high`."""
    scaled = (np.nan_to_num(values) - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def coded(det: np.ndarray) -> tuple[float, np.ndarray]:
    """Volume change as 8 bits: 0 is folding; 1 to 255 the logarithm from 1/stretch to stretch.

    Returns:
        The stretch at the end of the scale, and the codes.
    """
    size = np.log2(np.clip(np.nan_to_num(det), 2.0**-4, 2.0**4))
    usual = float(np.percentile(np.abs(size[tuple(slice(None, None, 3) for _ in det.shape)]), 99.5))
    stretch = next((s for s in STRETCHES if usual <= math.log2(s)), STRETCHES[-1])
    codes = np.clip(np.round(128 + size * (127 / math.log2(stretch))), 1, 255).astype(np.uint8)
    codes[~(det > 0)] = 0
    return stretch, codes


def mosaic(volume: np.ndarray, kind: str) -> dict[str, Any]:
    """All axial slices side by side in one picture, as a data address."""
    volume = volume.reshape(*volume.shape, *[1] * (3 - volume.ndim))
    width, height, depth = volume.shape
    columns = max(1, min(depth, math.ceil(math.sqrt(depth * height / width))))
    rows = math.ceil(depth / columns)
    sheet = np.zeros((rows * columns, height, width), np.uint8)
    sheet[:depth] = volume.transpose(2, 1, 0)
    sheet = sheet.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    picture = Picture.fromarray(np.ascontiguousarray(sheet.reshape(rows * height, -1)))
    stream = io.BytesIO()
    options = {"quality": 85} if kind == "JPEG" else {"compress_level": 1}
    picture.save(stream, kind, **options)
    code = base64.b64encode(stream.getvalue()).decode()
    return {"source": f"data:image/{kind.lower()};base64,{code}", "columns": columns}

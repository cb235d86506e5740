"""Phantoms: images that are known exactly, in 2-D and 3-D, on any grid."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.waves import smooth


@dataclass(frozen=True, eq=False)
class Phantom:
    """An image and the regions that it is made of.

    Args:
        image: Intensities of about 0.1 to 1, none above 1.8; 0 outside the body.
        labels: Region of every voxel: 0 outside, 1 the body, 2 and up what lies in it.
    """

    image: Image
    labels: Image


def centred(shape: Sequence[int], spacing: float | Sequence[float] = 1.0) -> Grid:
    """A grid along the world axes whose middle is the world origin.

    Args:
        shape: Voxels along each axis.
        spacing: Voxel size, mm; one number, or one for each axis.
    """
    step = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (len(shape),))
    affine = np.diag([*step, 1.0])
    affine[:-1, -1] = -step * (np.array(shape) - 1) / 2
    return Grid(tuple(shape), affine)


def ellipsoid(
    shape: Sequence[int],
    spacing: float | Sequence[float] = 1.0,
    *,
    radii: Sequence[float] | None = None,
    affine: np.ndarray | None = None,
) -> Image:
    """A bright ellipsoid (in 2-D an ellipse) in the middle of an image, its rim one voxel wide.

    Args:
        shape: Voxels along each axis.
        spacing: Voxel size, mm; not used where `affine` is given.
        radii: Half axes along the axes of the grid, mm; None: a third of the image.
        affine: Voxel to world, mm; None: along the world axes, centred on the origin.

    Example:
        >>> from coincide.synthetic.phantoms import ellipsoid
        >>> disc = ellipsoid((32, 32), radii=(10, 10))
        >>> round(float(disc.data.sum()))  # about 100 pi
        314
    """
    grid = centred(shape, spacing) if affine is None else Grid(tuple(shape), affine)
    half = grid.extent / 3 if radii is None else np.asarray(radii, dtype=np.float64)
    offset = _offsets(grid) @ grid.direction  # mm along the axes of the grid
    cover = _cover(offset, half, float(grid.spacing.min()))
    return Image.from_array(cover.astype(np.float32), grid.affine)


def textured(
    shape: Sequence[int],
    seed: int = 0,
    spacing: float | Sequence[float] = 1.0,
    *,
    regions: int = 12,
    texture: float = 0.15,
    affine: np.ndarray | None = None,
) -> Phantom:
    """An irregular body with irregular regions in it, sharp rims between them and a smooth texture.

    Everything is drawn in the world: the same seed on a finer grid of the same extent gives the
    same anatomy.

    Args:
        shape: Voxels along each axis.
        seed: Which anatomy.
        spacing: Voxel size, mm; not used where `affine` is given.
        regions: How many regions lie in the body; a later one covers part of the earlier ones.
        texture: Standard deviation of the texture, as a fraction of the intensity it lies on.
        affine: Voxel to world, mm; None: along the world axes, centred on the origin.

    Example:
        >>> from coincide.synthetic.phantoms import textured
        >>> phantom = textured((24, 24, 24), seed=3, regions=4)
        >>> phantom.labels.data.unique().tolist()
        [0, 1, 2, 3, 4, 5]
    """
    random = np.random.default_rng(seed)
    grid = centred(shape, spacing) if affine is None else Grid(tuple(shape), affine)
    size, dim = float(grid.extent.max()), grid.dim
    wobble = smooth(grid, sigma=size / 8, channels=dim, random=random)
    grain = smooth(grid, sigma=size / 16, channels=1, random=random)[0]
    axial = _offsets(grid) @ grid.direction + 0.02 * size * np.moveaxis(wobble, 0, -1)
    body = 0.42 * grid.extent
    rim = float(grid.spacing.min())

    cover = _cover(axial, body, rim)
    value, label, inside = 0.45 * cover, (cover >= 0.5).astype(np.int16), cover
    levels = random.permutation(np.linspace(0.1, 1.0, regions))
    for number, level in enumerate(levels, start=2):
        turn = np.linalg.qr(random.standard_normal((dim, dim)))[0]
        towards = random.standard_normal(dim)
        towards *= random.uniform(0.2, 0.75) / np.linalg.norm(towards)
        radii = random.uniform(0.25, 0.6, dim) * body.min()
        here = _cover((axial - towards * body) @ turn, radii, rim)
        here = np.minimum(here, inside)
        value = value * (1 - here) + level * here
        label = np.where(here >= 0.5, np.int16(number), label)
    value = value * np.clip(1 + texture * grain, 0.2, 1.8)
    return Phantom(
        Image.from_array(value.astype(np.float32), grid.affine),
        Image.from_array(label, grid.affine),
    )


def _offsets(grid: Grid) -> np.ndarray:
    """Vectors from the middle of a grid to its voxels, mm, (*S, D)."""
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre


def _cover(offset: np.ndarray, radii: np.ndarray, rim: float) -> np.ndarray:
    """How much of each voxel an ellipsoid covers, 0 to 1; its rim is `rim` mm wide."""
    scaled = offset / radii
    distance = np.linalg.norm(scaled, axis=-1)
    slope = np.linalg.norm(scaled / radii, axis=-1) / np.maximum(distance, 1e-9)
    # (r - 1) / |grad r| is the distance to the surface to first order
    return np.clip(0.5 - (distance - 1) / np.maximum(slope, 1e-9) / rim, 0, 1)

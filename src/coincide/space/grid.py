"""Grid: where the voxels of an image lie in the world."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from coincide.space.shapes import Points


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel lattice in the world: a shape and the affine that maps a voxel index to millimetres.

    The affine may be oblique, flipped, anisotropic or sheared; nothing here assumes otherwise.

    Args:
        shape: Voxels along each of the D axes, in file order.
        affine: (D+1, D+1) float64, voxel index to RAS+ world, mm; the linear part is invertible.

    Raises:
        ValueError: if the affine has the wrong size, is not finite, or cannot be inverted.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    def __post_init__(self):
        affine = np.array(self.affine, dtype=np.float64)
        size = len(self.shape) + 1
        if affine.shape != (size, size):
            raise ValueError(
                f"a grid of {size - 1} axes needs a {size}x{size} affine, got {affine.shape}"
            )
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:-1, :-1])) < 1e-12:
            raise ValueError(
                f"the affine cannot be inverted: {affine.tolist()}; set the spacing and direction"
            )
        # grids are shared and hashed, so nobody may change one
        affine.flags.writeable = False
        # past the frozen dataclass, as this is still its making
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Grid)
            and self.shape == other.shape
            and np.allclose(self.affine, other.affine, rtol=0, atol=1e-6)
        )

    def __hash__(self) -> int:
        # grids that are equal to a rounding error must fall together, so the affine has no say
        return hash(self.shape)

    @property
    def dim(self) -> int:
        """Number of axes D."""
        return len(self.shape)

    @cached_property
    def spacing(self) -> np.ndarray:
        """Distance between neighbouring voxels along each axis, mm, (D,)."""
        return np.linalg.norm(self.affine[:-1, :-1], axis=0)

    @property
    def direction(self) -> np.ndarray:
        """Unit vectors of the axes in columns, (D, D)."""
        return self.affine[:-1, :-1] / self.spacing

    @property
    def origin(self) -> np.ndarray:
        """World position of the centre of voxel zero, mm, (D,)."""
        return self.affine[:-1, -1]

    @property
    def centre(self) -> np.ndarray:
        """World position of the middle of the grid, mm, (D,)."""
        return self.to_world((np.array(self.shape) - 1) / 2)

    @property
    def extent(self) -> np.ndarray:
        """Physical length along each axis, mm, (D,)."""
        return self.spacing * self.shape

    @property
    def finest(self) -> float:
        """Smallest voxel size among the axes that have more than one voxel, mm."""
        return float(self.spacing[np.array(self.shape) > 1].min(initial=np.inf))

    @property
    def fineness(self) -> np.ndarray:
        """Voxels of each axis that are as long as one of the finest axis, (D,), at most 1."""
        return np.minimum(1.0, self.finest / self.spacing)

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return int(np.prod(self.shape))

    @cached_property
    def inverse(self) -> np.ndarray:
        """World to voxel index, (D+1, D+1)."""
        return np.linalg.inv(self.affine)

    def to_world(self, index: np.ndarray) -> np.ndarray:
        """World positions, mm, of voxel indices (..., D)."""
        return np.asarray(index) @ self.affine[:-1, :-1].T + self.affine[:-1, -1]

    def to_index(self, points: np.ndarray) -> np.ndarray:
        """Voxel indices of world positions (..., D), mm."""
        return np.asarray(points) @ self.inverse[:-1, :-1].T + self.inverse[:-1, -1]

    def index_in(self, other: "Grid") -> np.ndarray:
        """Affine from an index of this grid to an index of `other`, (D+1, D+1)."""
        return other.inverse @ self.affine

    def points(self, dtype: torch.dtype = torch.float64) -> Points:
        """World positions of all voxels, (1, voxels, D), mm, last axis fastest."""
        axes = [torch.arange(n, dtype=torch.float64) for n in self.shape]
        index = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dim)
        affine = torch.tensor(self.affine)
        return (index @ affine[:-1, :-1].T + affine[:-1, -1]).to(dtype)[None]

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> "Grid":
        """The part of the lattice from voxel `start` up to, not including, `stop`.

        Indices may lie outside this grid: the lattice is simply continued.
        """
        affine = self.affine.copy()
        affine[:-1, -1] = self.to_world(np.asarray(start))
        return Grid(tuple(int(b) - int(a) for a, b in zip(start, stop, strict=True)), affine)

    def shrink(self, factors: Sequence[int]) -> "Grid":
        """Every `factors[d]`-th voxel, at least one; a new one is centred on those it replaces."""
        factor = np.asarray(factors, dtype=np.float64)
        shape = tuple(max(1, -(-n // int(f))) for n, f in zip(self.shape, factors, strict=True))
        # about the middle of the old lattice: what is left over is shared by both ends
        start = (np.array(self.shape) - 1 - (np.array(shape) - 1) * factor) / 2
        affine = self.affine.copy()
        affine[:-1, :-1] = self.affine[:-1, :-1] * factor
        affine[:-1, -1] = self.to_world(start)
        return Grid(shape, affine)

    def factors(self, spacing: float) -> tuple[int, ...]:
        """Shrink factors that bring every axis as near as possible to `spacing` mm.

        An axis is never shrunk below four voxels, nor made finer than it is.
        """
        wanted = np.maximum(1, np.round(spacing / self.spacing)).astype(int)
        return tuple(int(min(f, max(1, n // 4))) for f, n in zip(wanted, self.shape, strict=True))


def tensor(affine: np.ndarray, like: Tensor) -> Tensor:
    """A matrix of the geometry as a tensor with the dtype and device of `like`."""
    # a copy, since torch warns of memory that cannot be written, as that of a grid cannot
    return torch.as_tensor(np.array(affine), dtype=like.dtype, device=like.device)


def transform_vectors(matrix: np.ndarray, field: Tensor) -> Tensor:
    """A (D, D) matrix of the geometry applied to every vector of (B, D, *S)."""
    # one product over all voxels, without moving the axis of components
    return (tensor(matrix, field) @ field.flatten(2)).view(field.shape)

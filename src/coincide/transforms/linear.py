"""Linear transforms: translation, rigid, similarity, affine."""

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from coincide.registry import named
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Matrix, Points
from coincide.transforms.transform import Transform


class Linear(Transform):
    r"""A linear map about a centre: $T(x) = A\,(x - c) + c + t$.

    Parameters are millimetres: an angle or a scale is counted as the arc or the stretch that it
    gives at `radius` mm from the centre, so that one step size suits all of them.

    Args:
        matrix: (D+1, D+1) start, mm to mm; None: the identity.
        centre: (D,) fixed point of the linear part, mm; None: the origin.
        radius: Distance from the centre at which parameters are counted, mm.
    """

    optimiser = "lbfgs"
    base: Tensor
    centre: Tensor

    def __init__(
        self,
        matrix: np.ndarray | None = None,
        *,
        centre: np.ndarray | None = None,
        radius: float = 50.0,
    ):
        super().__init__()
        self._start, self._centre, self.radius = matrix, centre, radius
        if matrix is not None:
            self._allocate(len(matrix) - 1)

    def _allocate(self, dim: int) -> None:
        matrix = np.eye(dim + 1) if self._start is None else np.asarray(self._start, np.float64)
        centre = np.zeros(dim) if self._centre is None else np.asarray(self._centre, np.float64)
        self.register_buffer("base", torch.tensor(matrix[:-1, :-1]))
        self.register_buffer("centre", torch.tensor(centre))
        moved = matrix[:-1, :-1] @ centre + matrix[:-1, -1] - centre
        self.shift = nn.Parameter(torch.tensor(moved)[None])
        self.parameters_mm = nn.Parameter(torch.zeros(1, self.freedom(dim), dtype=torch.float64))

    @staticmethod
    @abstractmethod
    def freedom(dim: int) -> int:
        """Number of parameters of the linear part."""

    @abstractmethod
    def linear(self) -> Matrix:
        """The linear part A, (B, D, D), float64."""

    def matrix(self) -> Matrix:
        """Homogeneous matrix of the map, (B, D+1, D+1), float64, mm to mm."""
        if not hasattr(self, "shift"):
            raise ValueError("a linear transform has no dimension yet; call .on(grid) first")
        linear = self.linear()
        offset = self.shift + self.centre - linear @ self.centre
        top = torch.cat([linear, offset[..., None]], -1)
        bottom = torch.zeros_like(top[:, :1])
        bottom[..., -1] = 1
        return torch.cat([top, bottom], 1)

    def numpy(self) -> np.ndarray:
        """The matrix of the first pair, (D+1, D+1)."""
        return self.matrix()[0].detach().cpu().numpy()

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        matrix = self.matrix().to(points.dtype)
        return points @ matrix[:, :-1, :-1].transpose(1, 2) + matrix[:, None, :-1, -1]

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement of the voxels of `grid`, mm, (B, D, *S)."""
        matrix = self.matrix()
        identity = torch.eye(grid.dim + 1, dtype=matrix.dtype, device=matrix.device)
        # (A - I)(x + u) + t + u, with x running over the grid: a sum of one ramp an axis
        change = (matrix - identity) @ tensor(grid.affine, matrix)
        dtype = torch.float32 if inner is None else inner.dtype
        total = change[:, :-1, -1].to(dtype).reshape(len(matrix), -1, *(1,) * grid.dim)
        for axis, n in enumerate(grid.shape):
            ramp = torch.arange(n, dtype=dtype, device=matrix.device)
            ramp = ramp.view([-1 if d == axis else 1 for d in range(grid.dim)])
            total = (
                total
                + change[:, :-1, axis].to(dtype).reshape(len(matrix), -1, *(1,) * grid.dim) * ramp
            )
        if inner is None:
            return total
        moved = torch.baddbmm(total.flatten(2), matrix[:, :-1, :-1].to(dtype), inner.flatten(2))
        return moved.view(len(moved), *inner.shape[1:])

    def inverse(self) -> "Affine":
        """The exact inverse, as an affine."""
        return Affine(np.linalg.inv(self.numpy()))

    def on(self, grid: Grid) -> "Linear":
        """Placed about the centre of `grid`, keeping the map that it is."""
        matrix = self.numpy() if hasattr(self, "shift") else self._start
        matrix = np.eye(grid.dim + 1) if matrix is None else matrix
        radius = float(np.linalg.norm(grid.extent) / 4)
        return type(self)(matrix, centre=grid.centre, radius=radius)


def rotation(angles: Tensor, dim: int) -> Matrix:
    """Rotation matrices (B, D, D) from D(D-1)/2 angles in radians (B, ...), one a plane of axes."""
    rows, columns = np.triu_indices(dim, 1)
    skew = torch.zeros(len(angles), dim, dim, dtype=angles.dtype, device=angles.device)
    skew[:, rows, columns] = -angles
    skew[:, columns, rows] = angles
    return torch.linalg.matrix_exp(skew)


@named("translation")
class Translation(Linear):
    """Shift by a vector. Args: see `Linear`."""

    @staticmethod
    def freedom(dim: int) -> int:
        """None: the linear part stays as it was given."""
        return 0 * dim

    def linear(self) -> Matrix:
        """The linear part that was given."""
        return self.base[None] + 0 * self.parameters_mm.sum()


@named("rigid")
class Rigid(Linear):
    """Rotation and shift; angles are the rotation vector (Lie algebra). Args: see `Linear`."""

    @staticmethod
    def freedom(dim: int) -> int:
        """One angle for each plane of two axes."""
        return dim * (dim - 1) // 2

    def linear(self) -> Matrix:
        """Rotation after the start."""
        dim = len(self.centre)
        return rotation(self.parameters_mm / self.radius, dim) @ self.base


@named("similarity")
class SimilarityTransform(Linear):
    """Rotation, one scale and shift. Args: see `Linear`."""

    @staticmethod
    def freedom(dim: int) -> int:
        """The angles and the logarithm of the scale."""
        return dim * (dim - 1) // 2 + 1

    def linear(self) -> Matrix:
        """Scaled rotation after the start."""
        values = self.parameters_mm / self.radius
        scale = values[:, -1:, None].exp()
        return scale * rotation(values[:, :-1], len(self.centre)) @ self.base


@named("affine")
class Affine(Linear):
    """Any linear map and shift. Args: see `Linear`."""

    @staticmethod
    def freedom(dim: int) -> int:
        """Every entry of the linear part."""
        return dim * dim

    def linear(self) -> Matrix:
        """The start plus the parameters."""
        dim = len(self.centre)
        return self.base + (self.parameters_mm / self.radius).view(-1, dim, dim)

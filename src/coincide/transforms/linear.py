"""Linear transforms: translation, rigid, similarity, affine."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function

from coincide.registry import named
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Matrix, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.parameter import frozen_like, has_graph, set_parameter
from coincide.transforms.transform import Transform


class Linear(Transform):
    r"""A linear map about a centre: $T(x) = A\,(x - c) + c + t$.

    Parameters are millimetres: an angle or a scale is counted as the arc or the stretch that it
    gives at `radius` mm from the centre, so that one step size suits all of them.

    Args:
        matrix: Start, mm to mm, (D+1, D+1) for one pair or (B, D+1, D+1); None: the identity. A
            tensor that was computed, as by a network, keeps its graph.
        centre: (D,) fixed point of the linear part, mm; None: the origin.
        radius: Distance from the centre at which parameters are counted, mm.

    Raises:
        ValueError: if the matrix has another shape.
    """

    optimiser = "lbfgs"
    base: Tensor
    centre: Tensor
    shift: Tensor
    parameters_mm: Tensor

    def __init__(
        self,
        matrix: np.ndarray | Tensor | None = None,
        *,
        centre: np.ndarray | None = None,
        radius: float = 50.0,
    ):
        super().__init__()
        self._centre, self.radius = centre, radius
        if matrix is not None:
            self._allocate(matrix)

    def _allocate(self, matrix: np.ndarray | Tensor) -> None:
        start = matrix if isinstance(matrix, Tensor) else torch.tensor(np.asarray(matrix))
        start = start.double()
        shape = tuple(start.shape)
        if len(shape) not in (2, 3) or shape[-1] != shape[-2]:
            raise ValueError(
                f"a linear map is a matrix (D+1, D+1), or (B, D+1, D+1) for a batch; got {shape}"
            )
        start = start if has_graph(start) else start.detach()
        start = start.reshape(-1, *shape[-2:])
        dim = shape[-1] - 1
        centre = np.zeros(dim) if self._centre is None else np.asarray(self._centre, np.float64)
        # the linear part of the start is no parameter: the optimiser's is put on top of it
        self.register_buffer("base", start[:, :-1, :-1].clone())
        self.register_buffer("centre", torch.tensor(centre, device=start.device))
        set_parameter(self, "shift", _shift(start, centre))
        still = torch.zeros(len(start), self.freedom(dim), dtype=torch.float64, device=start.device)
        # what a network gave is moved by the network; nothing on top of it is left to an optimiser
        self.parameters_mm = nn.Parameter(still, requires_grad=not has_graph(start))

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
        linear = linear.expand(len(offset), -1, -1)
        top = torch.cat([linear, offset[..., None]], -1)
        bottom = torch.zeros_like(top[:, :1])
        bottom[..., -1] = 1
        return torch.cat([top, bottom], 1)

    def numpy(self) -> np.ndarray:
        """The matrix of the one pair, (D+1, D+1).

        Raises:
            ValueError: for a batch of several.
        """
        matrix = self.matrix()
        if len(matrix) != 1:
            raise ValueError(
                f"this is a batch of {len(matrix)} linear maps, not one matrix; "
                "matrix() gives all of them, (B, D+1, D+1)"
            )
        return matrix[0].detach().cpu().numpy()

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        matrix = self.matrix().to(points.dtype)
        return points @ matrix[:, :-1, :-1].transpose(1, 2) + matrix[:, None, :-1, -1]

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement of the voxels of `grid`, mm, (B, D, *S)."""
        matrix = self.matrix()
        identity = torch.eye(grid.dim + 1, dtype=matrix.dtype, device=matrix.device)
        # (A - I)(x + u) + t + u, with x running over the grid: a sum of one ramp an axis
        # subtracted in double precision, before rounding: A x and x nearly cancel
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
        batch = max(len(matrix), len(inner))
        total, linear, inner = (
            values.expand(batch, *values.shape[1:])
            for values in (total, matrix[:, :-1, :-1].to(dtype), inner)
        )
        moved = torch.baddbmm(total.flatten(2), linear, inner.flatten(2))
        return moved.view(inner.shape)

    def inverse(self) -> "Affine":
        """The exact inverse of every pair, as an affine."""
        inverse: Tensor = _Inverse.apply(self.matrix())  # type: ignore[assignment]
        return frozen_like(Affine(inverse), self)

    def on(self, grid: Grid) -> Self:
        """Placed about the centre of `grid`, keeping the map that it is."""
        # half of the way from the centre to a corner: a typical distance
        radius = float(np.linalg.norm(grid.extent) / 4)
        if not hasattr(self, "shift"):
            return type(self)(np.eye(grid.dim + 1), centre=grid.centre, radius=radius)
        matrix = self.matrix()
        # parameters are laid out anew about the new centre; a graph is kept
        known = has_graph(self.shift) or has_graph(self.base)
        matrix = matrix if known else matrix.detach().cpu()
        return frozen_like(type(self)(matrix, centre=grid.centre, radius=radius), self)


def _shift(matrix: Tensor, centre: np.ndarray) -> Tensor:
    """How far each map moves the centre, mm, (B, D)."""
    if has_graph(matrix):
        there = tensor(centre, matrix)
        return matrix[:, :-1, :-1] @ there + matrix[:, :-1, -1] - there
    # on the CPU, so that a map is the same to the bit on any device
    moved = [one[:-1, :-1] @ centre + one[:-1, -1] - centre for one in matrix.cpu().numpy()]
    return torch.tensor(np.stack(moved), device=matrix.device)


class _Inverse(Function):
    """Inverse of matrices (B, E, E) on the CPU, the same to the bit with and without gradient."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        inverse = torch.from_numpy(np.linalg.inv(matrix.detach().cpu().numpy())).to(matrix.device)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (inverse,) = ctx.saved_tensors
        turned = inverse.transpose(1, 2)
        # the adjoint of dA⁻¹ = -A⁻¹ dA A⁻¹
        return -(turned @ gradients[0] @ turned)


@jacobian_at.register
def _(transform: Linear, points: Points) -> Tensor:
    linear = transform.matrix()[:, None, :-1, :-1].to(points.dtype)
    batch = max(len(linear), len(points))
    return linear.expand(batch, points.shape[1], -1, -1)


@hessian_at.register
def _(transform: Linear, points: Points) -> Tensor:
    batch, dim = max(len(transform.matrix()), len(points)), points.shape[2]
    return points.new_zeros(batch, points.shape[1], dim, dim, dim)


def rotation(angles: Tensor, dim: int) -> Matrix:
    """Rotation matrices (B, D, D) from D(D-1)/2 angles in radians (B, ...), one a plane of axes."""
    rows, columns = np.triu_indices(dim, 1)
    skew = torch.zeros(len(angles), dim, dim, dtype=angles.dtype, device=angles.device)
    # a positive angle turns the first axis of a plane towards the second
    skew[:, rows, columns] = -angles
    skew[:, columns, rows] = angles
    # smooth at no rotation, where an axis and an angle are not
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
        # the empty parameter stays in the graph, so that autograd gives it a gradient
        return self.base + 0 * self.parameters_mm.sum()


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
        # by its logarithm: never negative, and halving is as far away as doubling
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

"""ItkMember: one transform as ITK keeps it, and its translation from and to ours."""

from dataclasses import dataclass

import numpy as np
import torch

from coincide.files.itk_spline import ORDER, SPLINE, order_of, parameters_of, spline_of
from coincide.files.layout import copied
from coincide.files.lps import affine_of, flip, flipped_matrix, geometry_of
from coincide.space.grid import Grid
from coincide.transforms.bspline import BSpline
from coincide.transforms.displacement import Displacement
from coincide.transforms.linear import Affine, Linear
from coincide.transforms.symmetric import Symmetric
from coincide.transforms.transform import Transform

MATRICES = ("AffineTransform", "MatrixOffsetTransformBase")
FINER = 4
FIELD = "DisplacementFieldTransform"


@dataclass(frozen=True, eq=False)
class ItkMember:
    """What an ITK transform file says about one transform.

    Args:
        kind: Class, number type and dimensions, such as `AffineTransform_double_3_3`.
        parameters: (N,) in ITK's order, LPS.
        fixed: (M,) fixed parameters in ITK's order, LPS.
    """

    kind: str
    parameters: np.ndarray
    fixed: np.ndarray

    @property
    def dim(self) -> int:
        """Number of axes D."""
        parts = self.kind.split("_")  # class, number type, D, D and, of a spline, its order
        if len(parts) < 4 or not parts[3].isdigit():
            raise ValueError(f"{self.kind!r} does not say how many axes it has, as ITK would")
        return int(parts[3])

    @property
    def exact(self) -> bool:
        """Whether `transform` understands it."""
        return self.kind.split("_")[0] in (*MATRICES, FIELD, SPLINE)

    def transform(self) -> Transform:
        """The same map of RAS points, mm.

        Raises:
            ValueError: if it has too few or too many numbers, or is a B-spline that is not cubic.
        """
        dim = self.dim
        if self.kind.startswith(SPLINE) and order_of(self.kind) != ORDER:
            raise ValueError(
                f"its B-spline is of order {order_of(self.kind)}, only order {ORDER} is known; "
                "turn it into a displacement field with SimpleITK.TransformToDisplacementField, "
                "save that as .nii.gz and read it"
            )
        if self.kind.startswith(MATRICES):
            self._expect(dim * dim + dim)
            return Affine(self._matrix(dim))
        grid = self._grid(dim)
        self._expect(grid.voxels * dim)
        if self.kind.startswith(SPLINE):
            return spline_of(self.parameters, grid)
        # ITK writes the vectors of voxels one by one, the first axis fastest
        return displacement_of(np.asarray(self.parameters).reshape(*grid.shape[::-1], dim), grid)

    def _expect(self, count: int) -> None:
        if np.size(self.parameters) != count:
            raise ValueError(
                f"its {self.kind} has {np.size(self.parameters)} numbers where {count} are needed; "
                "the file is damaged, write it again"
            )

    def _grid(self, dim: int) -> Grid:
        """Size, origin, spacing and direction of the fixed parameters."""
        fixed = np.asarray(self.fixed, np.float64).ravel()
        if len(fixed) != dim * (dim + 3):
            raise ValueError(
                f"its {self.kind} has {len(fixed)} fixed parameters where {dim * (dim + 3)} are "
                "needed; the file is damaged, write it again"
            )
        size = tuple(int(n) for n in fixed[:dim])
        origin, spacing = fixed[dim : 2 * dim], fixed[2 * dim : 3 * dim]
        return Grid(size, affine_of(spacing, fixed[3 * dim :], origin))

    def _matrix(self, dim: int) -> np.ndarray:
        values = np.asarray(self.parameters, np.float64).ravel()
        centre = np.asarray(self.fixed, np.float64).ravel()[:dim]
        centre = centre if len(centre) == dim else np.zeros(dim)
        matrix = np.eye(dim + 1)
        matrix[:-1, :-1] = values[: dim * dim].reshape(dim, dim)
        # ITK's map is M (x - c) + c + t: offset by t + c - M c
        matrix[:-1, -1] = values[dim * dim :] + centre - matrix[:-1, :-1] @ centre
        return flipped_matrix(matrix)


def displacement_of(vectors: np.ndarray, grid: Grid) -> Displacement:
    """A displacement from LPS vectors (..., j, i, D), last file axis first."""
    dim = grid.dim
    kind = torch.float64 if vectors.dtype == np.float64 else torch.float32
    field = torch.empty(1, dim, *grid.shape, dtype=kind)
    target = field.numpy()[0]
    for axis, sign in enumerate(flip(dim)):
        copied(vectors[..., axis].transpose(*range(dim)[::-1]), target[axis])
        if sign < 0:
            np.negative(target[axis], out=target[axis])
    return Displacement(field=field, grid=grid)


def vectors_of(field: torch.Tensor, *, lps: bool = True) -> np.ndarray:
    """Vectors (..., j, i, D) of a displacement (1, D, *S), last file axis first."""
    # numpy has no bfloat16, so what is not float64 becomes float32 before it leaves torch
    values = field.detach().cpu()
    source = (values if values.dtype == torch.float64 else values.float()).numpy()[0]
    dim = len(source)
    # all axes but that of the components, the last one first
    vectors = np.empty((*source.shape[:0:-1], dim), source.dtype)
    for axis, sign in enumerate(flip(dim)):
        scale = vectors.dtype.type(sign if lps else 1)
        np.multiply(source[axis].transpose(*range(dim)[::-1]), scale, out=vectors[..., axis])
    return vectors


def member_of(transform: Transform, grid: Grid | None = None) -> ItkMember:
    """One transform of ours for ITK.

    A linear transform, a displacement and a B-spline are exact. Any other is sampled on `grid`, or
    on its own.

    Raises:
        ValueError: if a batch is given, or it lies on no grid.
    """
    if isinstance(transform, Linear):
        return affine_member(_one(transform.matrix())[0].detach().cpu().numpy())
    if isinstance(transform, Displacement) and transform.grid is not None:
        return field_member(transform.field, transform.grid)
    if isinstance(transform, BSpline) and transform.grid is not None:
        values, dim = parameters_of(_one(transform.coefficients)), transform.grid.dim
        return ItkMember(f"{SPLINE}_double_{dim}_{dim}", values, _fixed(transform.grid))
    own = grid if grid is not None else sampling_grid(transform)
    if own is None:
        raise ValueError(
            f"a {type(transform).__name__} lies on no grid yet; give grid=, such as that of the "
            "fixed image"
        )
    with torch.no_grad():
        return field_member(transform.displacement(own), own)


def pieces(transform: Transform) -> list[Transform]:
    """A transform as what ITK applies one after the other, outermost first; most are one."""
    if not isinstance(transform, Symmetric) or transform.grid is None:
        return [transform]
    grid = transform.grid
    return [
        Displacement(field=transform.moving_half, grid=grid),
        Displacement(field=transform.middle(), grid=grid),
    ]


def sampling_grid(transform: Transform) -> Grid | None:
    """Where to sample a transform that ITK cannot hold: its own grid, or None if it has none.

    A lattice of control points is made four times finer, as its displacement is a smooth curve
    between them.
    """
    field_grid = getattr(transform, "field_grid", None)
    own = getattr(transform, "grid", None) if field_grid is None else field_grid
    if own is None or own is field_grid or hasattr(transform, "field"):
        return own
    affine = own.affine.copy()
    # the origin stays: both lattices begin at the same control point
    affine[:-1, :-1] /= FINER
    return Grid(tuple((n - 1) * FINER + 1 for n in own.shape), affine)


def affine_member(matrix: np.ndarray) -> ItkMember:
    """A RAS matrix (D+1, D+1), mm, for ITK; its centre is the origin."""
    dim = len(matrix) - 1
    lps = flipped_matrix(matrix)
    values = np.concatenate([lps[:-1, :-1].ravel(), lps[:-1, -1]])
    return ItkMember(f"AffineTransform_double_{dim}_{dim}", values, np.zeros(dim))


def field_member(field: torch.Tensor, grid: Grid) -> ItkMember:
    """A RAS displacement (1, D, *S), mm, for ITK."""
    vectors = vectors_of(_one(field))
    number = "double" if vectors.dtype == np.float64 else "float"
    return ItkMember(f"{FIELD}_{number}_{grid.dim}_{grid.dim}", vectors.ravel(), _fixed(grid))


def _fixed(grid: Grid) -> np.ndarray:
    """Size, origin, spacing and direction, as ITK wants them."""
    spacing, direction, origin = geometry_of(grid)
    return np.concatenate([grid.shape, origin, spacing, direction.ravel()])


def _one(values: torch.Tensor) -> torch.Tensor:
    if len(values) != 1:
        raise ValueError(
            f"a file holds one transform, this one holds a batch of {len(values)}; save them apart"
        )
    return values

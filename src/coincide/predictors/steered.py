"""Steered: displacements of single patches, steered by a map of similarity."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from coincide.networks.patch_pairs import PatchPairs
from coincide.networks.precision import computing
from coincide.predictors.predictor import Predictor
from coincide.registry import named, positive
from coincide.space.grid import Grid, tensor
from coincide.space.image import Image
from coincide.space.shapes import Field, Points
from coincide.transforms.bspline import BSpline
from coincide.transforms.bspline_basis import separable
from coincide.transforms.transform import Transform

BEYOND = 2  # control points before and behind those of the patches


@named("steered")
class Steered(Predictor):
    """A patch of each image and a map of their similarity in, the displacement of its middle out.

    Each patch of 15 voxels along each axis is asked alone, so that training needs few images; it
    wants pairs whose transform is known, `--objective field`, and looks at the places of that term
    only. Used, it is asked on a lattice, through which a cubic B-spline goes. It finds what lies
    within 7 voxels; a larger `spacing` reaches further.

    Args:
        spacing: Edge of the voxels that the network sees, mm; 0: the finest of the fixed image.
        widths: Channels of the layers.
        apart: Voxels between the patches that are asked.
        dim: 2 or 3 axes.

    References:
        Cao et al. (2017), "Deformable image registration based on similarity-steered CNN
        regression", doi:10.1007/978-3-319-66182-7_35.
    """

    def __init__(
        self,
        spacing: float = 0.0,
        widths: tuple[int, ...] = (16, 32, 64),
        apart: int = 4,
        dim: int = 3,
    ):
        super().__init__(dim, spacing)
        self.widths, self.apart = tuple(widths), apart
        positive(self, "apart")
        self.network = PatchPairs(dim, self.widths)

    def propose(self, fixed: Tensor, moving: Tensor, weight: float | None) -> Tensor:  # noqa: ARG002
        """Displacements in voxels at the middles of patches."""
        lines = [torch.arange(*_line(n, self.apart)) for n in fixed.shape[2:]]
        centres = torch.cartesian_prod(torch.arange(len(fixed)), *lines).to(fixed.device)
        found = self.network(fixed, moving, centres)
        shape = (len(fixed), *(len(line) for line in lines), self.dim)
        return found.view(shape).movedim(-1, 1)

    def placed(self, vectors: Tensor, grid: Grid) -> BSpline:
        """The spline through them."""
        matrices = [_through(n) for n in vectors.shape[2:]]
        first = np.array([_line(n, self.apart)[0] for n in grid.shape]) - BEYOND * self.apart
        affine = grid.affine.copy()
        affine[:-1, :-1] *= self.apart
        affine[:-1, -1] = grid.to_world(first)
        shape = tuple(n + 2 * BEYOND for n in vectors.shape[2:])
        return BSpline(
            float(grid.spacing.min()) * self.apart,
            coefficients=separable(vectors, matrices),
            grid=Grid(shape, affine),
        )

    def trained(
        self,
        fixed: Image,
        moving: Image,
        weight: float | None,
        random: torch.Generator,  # noqa: ARG002
    ) -> tuple[Transform, Tensor]:
        """What is asked only where a term looks."""
        one, other, grid = self.seen(fixed, moving, weight)
        nothing = torch.zeros((), device=one.device)
        return Asked(self, one, other, grid), nothing


class Asked(Transform):
    """The answers of a network of patches, at points asked one by one, elsewhere by its spline.

    Args:
        predictor: Which is asked.
        fixed: What it is shown, (B, 1, *S).
        moving: The same.
        grid: Where the voxels of both lie.
    """

    def __init__(self, predictor: Steered, fixed: Tensor, moving: Tensor, grid: Grid):
        super().__init__()
        self.predictor, self.shown, self.grid = predictor, (fixed, moving), grid

    @cached_property
    def whole(self) -> Transform:
        """The spline through the lattice."""
        return self.predictor.in_world(self.predictor.answer(*self.shown, None), self.grid)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, each as the patch around the nearest voxel says."""
        grid, batch = self.grid, len(self.shown[0])
        points = points.expand(batch, *points.shape[1:])
        index = points @ tensor(grid.inverse[:-1, :-1].T, points)
        index = index + tensor(grid.inverse[:-1, -1], points)
        last = torch.tensor(grid.shape, device=points.device) - 1
        voxel = torch.minimum(index.round().long().clamp_min(0), last)
        pair = torch.arange(batch, device=points.device)[:, None, None]
        centres = torch.cat([pair.expand(*voxel.shape[:2], 1), voxel], -1).flatten(0, 1)
        with computing(self.predictor.precision, points.device):
            found = self.predictor.network(*self.shown, centres).float()
        matrix = tensor((grid.direction * grid.spacing).T, found)
        return points + (found @ matrix).view(points.shape).to(points.dtype)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement of the spline at the voxels of `grid`, mm, (B, D, *S)."""
        return self.whole.displacement(grid, inner)

    def inverse(self) -> Transform:
        """That of the spline."""
        return self.whole.inverse()

    def on(self, grid: Grid) -> Transform:
        """The spline on `grid`."""
        return self.whole.on(grid)


def _line(voxels: int, apart: int) -> tuple[int, int, int]:
    """First voxel, end and step of the middles of patches along an axis."""
    count = -(-voxels // apart)
    first = (voxels - 1 - apart * (count - 1)) // 2
    return first, voxels, apart


def _through(count: int) -> np.ndarray:
    """Matrix from values to the control points of the spline through them, continued beyond."""
    size = count + 2 * BEYOND
    spline = np.eye(size) * 4 / 6 + (np.eye(size, k=1) + np.eye(size, k=-1)) / 6
    spline[0, 0] = spline[-1, -1] = 5 / 6
    given = np.clip(np.arange(size) - BEYOND, 0, count - 1)
    return np.linalg.solve(spline, np.eye(count)[given])

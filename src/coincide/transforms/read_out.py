"""Read-out: a smooth displacement at every voxel of a grid, computed at few of them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.bspline_basis import separable, spread

CHUNK = 2**15  # points at once, so that what a network holds of them stays small
FEW = 2**16  # voxels that are computed one by one
COARSEST = 8  # voxels between two nodes of the lattice at first
CLOSE = 0.005  # largest miss of the lattice at the points where it is tried, mm
TRIED = 2000  # points
MARGIN = 6  # nodes beyond the grid, after which the border has no say (0.27⁶ of it is left)


def read_out_of(
    transform: nn.Module, shift: Callable[[Points], Points], grid: Grid, inner: Field | None
) -> Field:
    """How far the voxels of a grid go by a transform without a grid of its own, (B, D, *S), mm.

    Exact and with its gradient where one is wanted or a displacement was made before, else as
    `read_out` does.

    Args:
        transform: Whose parameters tell the device, and whether a gradient is wanted.
        shift: Its displacement, from points (B, P, D) in mm to how far they go.
        grid: Where.
        inner: Displacement already applied, (B, D, *S), mm; None: zero.
    """
    held = list(transform.parameters())
    device = held[0].device if held else torch.device("cpu")

    def there(points: Points) -> Points:
        return shift(points.to(device))

    trained = torch.is_grad_enabled() and any(one.requires_grad for one in held)
    return exactly(there, grid, inner) if trained or inner is not None else read_out(there, grid)


def exactly(shift: Callable[[Points], Points], grid: Grid, inner: Field | None = None) -> Field:
    """A displacement at every voxel, one by one: inner(x) + u(x + inner(x)), (B, D, *S), mm.

    Args:
        shift: u, from points (B, P, D) in mm to how far they go.
        grid: Where.
        inner: Displacement already applied, (B, D, *S), mm; None: zero.
    """
    points = grid.points(torch.float32)
    if inner is not None:
        points = points.to(inner.device) + inner.flatten(2).transpose(1, 2)
    field = torch.cat([shift(part).to(points.dtype) for part in points.split(CHUNK, 1)], 1)
    field = field.transpose(1, 2).reshape(-1, grid.dim, *grid.shape)
    return field.float() if inner is None else (field + inner).float()


def read_out(shift: Callable[[Points], Points], grid: Grid) -> Field:
    r"""A smooth displacement at every voxel of a grid, (B, D, *S), mm, without gradient.

    It is computed at the nodes of a lattice, every few voxels, and the cubic spline through them
    is evaluated at the voxels. The lattice is made denser until the spline is right to 0.005 mm at
    random voxels; a small grid, or a displacement that is not smooth, is computed voxel by voxel.

    Args:
        shift: From points (B, P, D) in mm to how far they go.
        grid: Where.
    """
    with torch.no_grad():
        if grid.voxels <= FEW:
            return exactly(shift, grid)
        random = np.random.default_rng(0)
        tried = np.stack([random.integers(n, size=TRIED) for n in grid.shape], 1)
        expected = shift(torch.as_tensor(grid.to_world(tried), dtype=torch.float32)[None])
        factor = COARSEST
        while factor > 1:
            steps = np.maximum(1, np.floor(factor * grid.fineness)).astype(int)
            # an axis of which few nodes would be left is not thinned
            steps = np.where(np.array(grid.shape) > 2 * steps, steps, 1)
            if _nodes(grid, steps).voxels > grid.voxels / 2:
                break
            lattice = exactly(shift, _nodes(grid, steps))
            places = [_weights(grid, steps, d) for d in range(grid.dim)]
            missed = _at(lattice, places, tried).to(expected) - expected
            if float(missed.norm(dim=-1).max()) <= CLOSE:
                return separable(lattice, places)
            factor //= 2
        return exactly(shift, grid)


def _nodes(grid: Grid, steps: np.ndarray) -> Grid:
    """The lattice of every `steps[d]`-th voxel and a margin, which an axis of steps 1 needs not."""
    thin = steps > 1
    margin = np.where(thin, MARGIN, 0)
    count = np.where(thin, -(-(np.array(grid.shape) - 1) // steps) + 1, grid.shape) + 2 * margin
    affine = grid.affine.copy()
    affine[:-1, -1] = grid.to_world(-margin * steps)
    affine[:-1, :-1] *= steps
    return Grid(tuple(int(n) for n in count), affine)


def _weights(grid: Grid, steps: np.ndarray, axis: int) -> np.ndarray:
    """Matrix from the nodes of an axis to its voxels: the cubic spline through the nodes."""
    step, count = steps[axis], grid.shape[axis]
    if step == 1:
        return np.eye(count)
    nodes = _nodes(grid, steps).shape[axis]
    # a spline takes 1/6, 4/6, 1/6 of its coefficients at a node, mirrored at both ends
    through = np.eye(nodes) * 4 / 6 + (np.eye(nodes, k=1) + np.eye(nodes, k=-1)) / 6
    through[0, 1] = through[-1, -2] = 2 / 6
    return spread(np.arange(count) / step + MARGIN, nodes) @ np.linalg.inv(through)


def _at(lattice: Field, places: list[np.ndarray], voxels: np.ndarray) -> Tensor:
    """The spline at some voxels (N, D) alone, (B, N, D)."""
    spline = lattice.flatten(0, 1).double()
    # one axis after the other: first for all voxels, then for each its own row
    weights = [torch.as_tensor(p[voxels[:, d]]) for d, p in enumerate(places)]
    spline = torch.einsum("c...z,nz->nc...", spline, weights[-1].to(spline.device))
    for weight in reversed(weights[:-1]):
        spline = torch.einsum("nc...z,nz->nc...", spline, weight.to(spline.device))
    return spline.T.reshape(len(lattice), -1, len(voxels)).transpose(1, 2)

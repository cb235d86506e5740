"""Cost volume: the squared difference of two feature images for many shifts at once."""

from torch import Tensor

from coincide.kernels.backend import backend


def cost_volume(
    fixed: Tensor,
    weight: Tensor,
    unknown: Tensor,
    moving: Tensor,
    seen: Tensor,
    cell: tuple[int, ...],
    scale: float,
) -> Tensor:
    r"""Cost of each shift d for each cell of voxels.

    $$
    c(n, d) = s \sum_{x \in n} w(x) \big( v(x+d) \, |F(x) - M(x+d)|^2
        + (1 - v(x+d)) \, o(x) \big)
    $$

    Args:
        fixed: F, (C, *S); S is a multiple of the cell.
        weight: w, (*S), where the fixed image counts.
        unknown: o, (*S), cost of a voxel that is shifted to where nothing is seen.
        moving: M, (C, *(S + L - 1)); shift 0 begins at its voxel 0.
        seen: v, (*(S + L - 1)), where the moving image counts.
        cell: Voxels of a cell along each axis.
        scale: s.

    Returns:
        (*N, *L) for N cells and L shifts along each axis. Differentiable by torch operations,
        which keep as many volumes as there are shifts.
    """
    images = {"fixed": fixed, "moving": moving}
    weights = {"weight": weight, "unknown": unknown, "seen": seen}
    run = backend("cost_volume.cost_volume", images | weights)
    return run(fixed, weight, unknown, moving, seen, cell, scale)


def blurred(volume: Tensor, sigma: float, dim: int) -> Tensor:
    """A cost volume (*N, *L) of `dim` axes, smoothed in place over its cells, the border continued.

    Args:
        volume: Costs, contiguous; without gradient.
        sigma: Standard deviation of the Gaussian, cells; 0 leaves the costs alone.
        dim: Number of axes.

    Raises:
        ValueError: if the volume is not contiguous.
    """
    if not volume.is_contiguous():
        raise ValueError("a cost volume is smoothed in place: give one that is contiguous")
    return backend("cost_volume.blurred", {"volume": volume})(volume, sigma, dim)

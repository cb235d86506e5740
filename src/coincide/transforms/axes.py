"""Axes: of how many a transform is."""

from coincide.space.grid import Grid
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform


def axes_of(transform: Transform) -> int | None:
    """Number of axes of the points that a transform moves; None: it does not know yet."""
    if isinstance(transform, Linear):
        return transform.matrix().shape[-1] - 1 if hasattr(transform, "shift") else None
    if isinstance(transform, Composite):
        return next((size for size in map(axes_of, transform) if size is not None), None)
    grid = getattr(transform, "grid", None)
    return grid.dim if isinstance(grid, Grid) else None


def check_axes(transform: Transform, dim: int, name: str) -> None:
    """Refuse a transform of another number of axes than the images.

    Args:
        transform: Any.
        dim: Number of axes of the images or points.
        name: What the transform is called.

    Raises:
        ValueError: saying both numbers.
    """
    size = axes_of(transform)
    if size is not None and size != dim:
        raise ValueError(f"{name} has {size} axes, the images or points have {dim}")

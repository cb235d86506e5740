"""Composite: transforms applied one after the other."""

from collections.abc import Iterator, Sequence

from torch import nn

from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.transform import Transform


class Composite(Transform):
    """Several transforms as one; the last in the list acts first, as in mathematics.

    Args:
        transforms: Outermost first; composites among them are taken apart.
    """

    def __init__(self, transforms: Sequence[Transform]):
        super().__init__()
        self.transforms = nn.ModuleList(_flat(transforms))

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)  # type: ignore[arg-type]

    def forward(self, points: Points) -> Points:
        """Positions after all transforms, (B, P, D) mm."""
        for transform in reversed(self.transforms):
            points = transform(points)
        return points

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement of the whole chain, mm, (B, D, *S)."""
        for transform in reversed(self.transforms):
            inner = transform.displacement(grid, inner)  # type: ignore[operator]
        assert inner is not None
        return inner

    def inverse(self) -> "Composite":
        """Inverses in reverse order."""
        return Composite([transform.inverse() for transform in reversed(self.transforms)])  # type: ignore[operator]

    def on(self, grid: Grid) -> "Composite":
        """Every member expressed on `grid`."""
        return Composite([transform.on(grid) for transform in self.transforms])  # type: ignore[operator]


def _flat(transforms: Sequence[Transform]) -> list[Transform]:
    flat: list[Transform] = []
    for transform in transforms:
        flat.extend(transform if isinstance(transform, Composite) else [transform])
    return flat

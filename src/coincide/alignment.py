"""Alignment: two images and the transform between them; everything derived is computed once."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import Interpolation, resample
from coincide.space.shapes import Field, Volume
from coincide.transforms.composite import Composite
from coincide.transforms.jacobian import determinant
from coincide.transforms.linear import Linear
from coincide.transforms.transform import Transform


@dataclass(frozen=True, eq=False)
class Alignment:
    """What every cost, score and figure reads.

    Args:
        fixed: Image that stays.
        moving: Image that is mapped.
        transform: Fixed-world to moving-world points.
        outer: The transform under which `moving` has been resampled already; None: none. Data
            that were not resampled, such as labels and landmarks, are moved by the whole map.
        prepared: Feature images already computed for these two images, shared by the steps of an
            optimisation; see `features`.
    """

    fixed: Image
    moving: Image
    transform: Transform
    outer: Transform | None = None
    prepared: dict[Any, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Transform:
        """Fixed-world points to points of the original moving world, `outer` included."""
        return self.transform if self.outer is None else Composite((self.outer, self.transform))

    @cached_property
    def displacement(self) -> Field:
        """Displacement at the voxels of the fixed image, mm, (B, D, *S)."""
        return self.transform.displacement(self.fixed.grid)

    @cached_property
    def warped(self) -> Image:
        """The moving image on the fixed grid; its mask is where both images count."""
        return self.pull(self.moving)

    @cached_property
    def jacobian(self) -> Volume:
        """Determinant of the Jacobian of the transform, (B, 1, *S)."""
        return determinant(self.displacement, self.fixed.grid)

    def pull(self, image: Image, *, interpolation: Interpolation = "linear") -> Image:
        """An image in the moving world brought to the fixed grid, masked by the fixed mask."""
        warped = pulled(image, self.transform, self.fixed.grid, interpolation=interpolation)
        if self.fixed.mask is None or warped.mask is None:
            return warped
        return warped.with_mask(warped.mask * self.fixed.mask)

    def prepare(self, part: Any) -> tuple[Image, Image]:
        """Both images as a similarity compares them, not warped; computed once."""
        if part not in self.prepared:
            self.prepared[part] = part.prepared(self.fixed, self.moving)
        return self.prepared[part]

    def features(self, part: Any) -> tuple[Image, Image]:
        """Feature image of the fixed, and warped feature image of the moving, for a similarity."""
        fixed, moving = self.prepare(part)
        # no features of its own: the warped image is shared with all terms that compare it
        if moving is self.moving:
            return fixed, self.warped
        return fixed, self.pull(moving)


def pulled(
    image: Image, transform: Transform, grid: Grid, *, interpolation: Interpolation = "linear"
) -> Image:
    """An image in the moving world seen at the voxels of `grid`, interpolated once.

    A linear map at the end of a chain is folded into the sampling instead of into the field.

    Args:
        image: What to sample.
        transform: World of `grid` to world of `image`.
        grid: Where the result lies.
        interpolation: See `resample`.
    """
    if isinstance(transform, Composite) and len(transform.transforms) > 1:
        outer, *inner = transform
        # one matrix for the whole batch, through which nothing is trained
        fixed = isinstance(outer, Linear) and not any(
            held.requires_grad for held in (outer.base, outer.shift, outer.parameters_mm)
        )
        if isinstance(outer, Linear) and fixed and len(outer.matrix()) == 1:
            rest = Composite(inner) if len(inner) > 1 else inner[0]
            field = rest.displacement(grid)
            return resample(image, grid, field, after=outer.numpy(), interpolation=interpolation)
    # as a matrix, which keeps its gradient and saves a field; a batch needs one for each pair
    if isinstance(transform, Linear) and len(transform.shift) == 1:
        after = transform.matrix()[0]
        return resample(image, grid, None, after=after, interpolation=interpolation)
    return resample(image, grid, transform.displacement(grid), interpolation=interpolation)

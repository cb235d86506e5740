"""Way: the interface of everything that takes a pair and a start and finds a transform."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from coincide.alignment import pulled
from coincide.foreground import Foreground, cropped
from coincide.registration import Candidate, Step
from coincide.registry import Chainable, written
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.space.sampling import Interpolation, resample
from coincide.transforms.composite import Composite
from coincide.transforms.transform import Transform

CPU = torch.device("cpu")
Watch = Callable[[Step], None]

COVERED = (
    0.98  # share of the fixed foreground that an image covers which needs no mask for its edge
)
NEAR = 6.0  # mm around the foreground of the fixed image that take part in a deformation
WORKING = 8_000_000  # voxels of the finest level at most
FEW = 16  # voxels in which both images must show something


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images on their way to each other.

    Args:
        fixed: Foreground of the image that stays.
        moving: Foreground of the image that is mapped.
        outer: What has been found already and is frozen; it takes the points that a way has moved
            on to the moving world; None: nothing yet.
        device: Where a deformation is worked on.
    """

    fixed: Foreground
    moving: Foreground
    outer: Transform | None = None
    device: torch.device = CPU

    def under(self, found: Transform) -> "Pair":
        """The same pair with a transform frozen that was found after `outer`."""
        # what lies under the next way is no longer moved, and lets go of its graph
        found.requires_grad_(False)
        outer = found if self.outer is None else Composite((self.outer, found))
        return replace(self, outer=outer)

    @cached_property
    def foregrounds(self) -> tuple[Foreground, Foreground]:
        """Both foregrounds, that of the moving image as it is seen under `outer`."""
        if self.outer is None:
            return self.fixed, self.moving
        grid = self.fixed.image.grid
        shown = Image(self.moving.mask, self.moving.image.grid)
        # a mask says where something is shown, and so has no values between 0 and 1
        mask = self._seen(shown, grid, "nearest").data
        return self.fixed, Foreground(self._seen(self.moving.image, grid), mask)

    @cached_property
    def overlap(self) -> Image:
        """The moving image under `outer` on the fixed grid, masked to where both show something.

        Raises:
            ValueError: if that is nowhere.
        """
        warped = self._seen(self.moving.image, self.fixed.image.grid)
        both = self.fixed.mask * warped.weight()
        if float(both.sum()) < FEW:
            raise ValueError(
                "the two images do not overlap; check that they show the same anatomy, begin "
                "with an alignment such as 'affine >> displacement', or give an initial transform"
            )
        return warped.with_mask(both)

    @cached_property
    def images(self) -> tuple[Image, Image]:
        """What a deformation works on.

        The fixed image near its foreground, not too large, and the moving image on the same grid,
        interpolated once.

        Raises:
            ValueError: if the images do not overlap.
        """
        self.overlap  # noqa: B018  refuses images that show nothing in common
        # 0 leaves the image as it is; only one that is too large is made coarser
        image, spacing = cropped(self.fixed, NEAR).image, 0.0
        while np.prod(image.grid.shrink(image.grid.factors(spacing)).shape) > WORKING:
            spacing = max(spacing, float(image.grid.spacing.min())) * 1.25
        image = at(image, image.grid.shrink(image.grid.factors(spacing)))
        # a finer moving image is smoothed first, so that it does not alias on the working grid
        # the geometric mean: thick slices do not make it coarse within them
        target = float(np.exp(np.log(image.grid.spacing).mean()))
        own = self.moving.image.grid
        source = at(self.moving.image, own.shrink(own.factors(target)))
        # all levels work on this image, so that it is worth the best interpolation
        warped = self._seen(source, image.grid, "cubic")
        shown = self.fixed.image.with_data(self.fixed.mask).with_mask(None)
        inside = at(shown, image.grid).data > 0.5
        assert warped.mask is not None
        # an edge of the image outside of what is compared would only be followed in vain
        if self.moving.image.mask is None and float(warped.mask[inside].mean()) > COVERED:
            warped = warped.with_mask(None)
        return image.to(self.device), warped.to(self.device)

    def _seen(self, image: Image, grid: Grid, interpolation: Interpolation = "linear") -> Image:
        """An image of the moving world under `outer` on a grid."""
        if self.outer is None:
            return resample(image, grid, interpolation=interpolation)
        return pulled(image, self.outer, grid, interpolation=interpolation)


@dataclass(frozen=True, eq=False)
class Found:
    """What a way found.

    Args:
        transform: Fixed-world points to the points at which the pair's `outer` takes over.
        way: What ran, with every choice that it made.
        history: Every step, in order.
        status: One sentence for a person.
        seconds: Wall time.
        candidates: Starts that were tried, best first.
        margin: Cost of the best different answer minus that of this one; None: not known.
        confidence: How clear the choice was at each control point, (1, 1, *N): 1 where one place
            matches and no other does, 0 where all match alike; None: not known.
    """

    transform: Transform
    way: "Way"
    history: tuple[Step, ...] = ()
    status: str = ""
    seconds: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    margin: float | None = None
    confidence: Image | None = None

    @property
    def cost(self) -> float:
        """Cost after the last step."""
        return self.history[-1].cost


class Way(Chainable, ABC):
    """A step of a registration: align, search, predict, optimise; a frozen dataclass of numbers.

    Ways are chained by `>>`, in Python as in text: `affine >> convex(reach=36) >> displacement`.
    """

    name: ClassVar[str]

    def __str__(self) -> str:
        return written(self)

    @abstractmethod
    def refines(self, start: Transform) -> bool:
        """Whether it goes on from such a transform; if not, it begins anew, on top of it."""

    @abstractmethod
    def __call__(
        self, pair: Pair, start: Transform | None = None, watch: Watch | None = None
    ) -> Found:
        """Find a transform for a pair.

        Args:
            pair: The two images, and what has been found between them.
            start: Where to begin, after `outer`; one that it `refines`, or None: the identity, or
                wherever it likes where nothing has been found.
            watch: Called after every step.

        Raises:
            ValueError: if it cannot work on such images, saying what would.
        """

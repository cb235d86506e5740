"""Finest: features of the finest level, averaged for the coarser ones."""

from coincide.objective import Similarity
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.pyramid import at


class Finest:
    """Features that are made once, of both images on the finest level.

    Of a coarse image fine structure is gone before it can be described; made first and averaged
    afterwards, features keep what they have seen.

    Args:
        fixed: Fixed image.
        moving: Moving image, on any grid.
        spacing: Voxel size of the finest level, mm.
    """

    def __init__(self, fixed: Image, moving: Image, spacing: float):
        self.images = fixed, moving
        self.spacing = spacing
        self.made: dict[Similarity, tuple[Image, Image]] = {}

    def on(self, term: Similarity, fixed: Grid, moving: Grid) -> tuple[Image, Image]:
        """Features of both images on the grids of a level."""
        if term not in self.made:
            one, other = (
                at(image, image.grid.shrink(image.grid.factors(self.spacing)))
                for image in self.images
            )
            self.made[term] = term.prepared(one, other)
        one, other = self.made[term]
        return at(one, fixed), at(other, moving)

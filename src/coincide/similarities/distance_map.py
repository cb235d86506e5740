"""Distance maps: surfaces drawn to each other from afar."""

from dataclasses import dataclass

import torch

from coincide.features.discrete import refuse_gradient
from coincide.features.distance import signed_distance
from coincide.kernels.difference import mean_square
from coincide.objective import Similarity
from coincide.registry import named
from coincide.similarities.overlap import present
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("distance_map")
@dataclass(frozen=True)
class DistanceMap(Similarity):
    r"""Squared difference of signed distances to surfaces, for structures outlined in both images.

    $$
    \frac{1}{L} \sum_l \frac{1}{|\Omega|} \int_\Omega
        \left( \frac{d_l^F - d_l^W}{r} \right)^2 \mathrm{d}x
    $$

    with the distance $d_l$ to the surface of label $l$ in mm, negative inside and cut at $\pm r$.
    Where `labels` feels a surface only within a voxel, this feels it as far away as `reach`. It
    keeps one image for each label, so it suits a few structures. An image that is no label map
    gives the surface of what is brighter than the middle of its range.

    Args:
        reach: Distance $r$ up to which surfaces attract each other, mm (> 0).
        labels: Which labels count; empty: all that the fixed map has.

    Shape:
        `fixed.data` and `warped.data` (B, L, *S) distances on one grid; returns (B,), 0 is best.

    Example:
        >>> same = DistanceMap().of(labels, labels)
        >>> same(alignment)
        tensor([0.])

    References:
        Kozinska et al. (1997), Graphical Models and Image Processing 59(6), 373-387.
    """

    reach: float = 10.0
    labels: tuple[int, ...] = ()
    squared = True
    pointwise = True

    def prepare(self, image: Image) -> Image:
        """Distances in units of the reach, one channel a label."""
        return self.prepared(image, image)[0]

    def prepared(self, fixed: Image, moving: Image) -> tuple[Image, Image]:
        """Distances of both maps to the surfaces of the same labels."""
        for image in (fixed, moving):
            refuse_gradient(image, "distance_map")
        one, other = bright(fixed), bright(moving)
        labels = self.labels or present(one)
        f, m = (signed_distance(i, labels, self.reach) for i in (one, other))
        return f.with_data(f.data / self.reach), m.with_data(m.data / self.reach)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        return mean_square(fixed.data, warped.data, warped.weight())


def bright(image: Image) -> Image:
    """A label map as it is; of any other image, 1 above the middle of its range."""
    if not image.data.is_floating_point():
        return image
    low, high = image.range()
    middle = ((low + high) / 2).view(-1, *(1,) * (image.dim + 1))
    return image.with_data((image.data > middle).to(torch.int64))

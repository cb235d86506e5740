"""Spanning tree: the exact discrete search of deeds."""

from dataclasses import dataclass

import numpy as np
import torch

from coincide.kernels.smooth import gaussian
from coincide.registry import named, positive
from coincide.search.cost_volume import CostVolume
from coincide.search.levels import Scheme, searched
from coincide.search.search import Picked, Search
from coincide.search.tree import beliefs, spanning_tree
from coincide.space.image import Image
from coincide.space.shapes import Field


@named("spanning_tree")
@dataclass(frozen=True)
class SpanningTree(Search):
    r"""Search on a tree: neighbours of similar intensity move alike, others may slide.

    The control points of the fixed image are joined to the tree of least intensity differences.
    On a tree the best of all combinations of shifts is found exactly, in one pass of messages to
    the root and one back:

    $$
    \min_d\; \sum_n c(n, d_n) + \alpha \sum_{(n, m)} |d_n - d_m|^2 / h^2
    $$

    with costs c that are 1 in a random place, the edges (n, m) of the tree and the distance h of
    control points. It is done from both images; the two answers are then made to undo each other.

    Args:
        spacing: Distance between control points, h, mm.
        reach: Largest shift along each axis, mm.
        step: Distance between shifts, mm; no finer than the voxels.
        similarity: Whose features are compared, as text: one that is a squared difference, such as
            `mind_ssc`, `dns`, `structural` or `ngf`.
        feature: Voxel size on which features are computed, mm; 0: that of the fixed image.
        levels: How many times; each halves spacing, reach and step and starts from the last.
        alpha: Weight of the differences between neighbours (no unit, > 0).
        smooth: Standard deviation of the Gaussian on the shifts, control points: it joins
            neighbours that the tree does not.

    Example:
        >>> found = SpanningTree(spacing=4, reach=4, step=2, levels=1).pick(image, image)
        >>> float(found.transform.field.abs().max()) < 0.1
        True

    References:
        Heinrich et al. (2013), doi:10.1109/TMI.2013.2246577.
    """

    spacing: float = 8.0
    reach: float = 32.0
    step: float = 4.0
    similarity: str = "mind_ssc"
    feature: float = 0.0
    levels: int = 2
    alpha: float = 0.3
    smooth: float = 0.8

    def __post_init__(self):
        positive(self, "spacing", "reach", "step", "levels")
        positive(self, "alpha")
        positive(self, "smooth", "feature", zero=True)

    def pick(self, fixed: Image, moving: Image) -> Picked:
        """Where the parts of the fixed image are in the moving image."""
        scheme = Scheme(
            self.spacing,
            self.reach,
            self.step,
            self.similarity,
            self.feature,
            self.levels,
            evidence=0.0,
        )
        return searched(fixed, moving, scheme, self._solve, stage=self.name)

    def _solve(self, volume: CostVolume, image: Image) -> tuple[Field, list[float]]:
        nodes, metric = volume.lattice.nodes, volume.lattice.metric
        unit = float(nodes.spacing.max()) ** 2
        # shifts are compared axis by axis, so that only the diagonal of the metric counts
        least = beliefs(volume.lifted, spanning_tree(image), self.alpha / unit * np.diag(metric))
        still = torch.zeros(1, nodes.dim, *nodes.shape)
        # where all shifts are as good, the shortest
        shift = volume.best(still, 1e-4 / unit)
        return gaussian(shift, [self.smooth] * nodes.dim), [least / nodes.voxels]

"""Convex: the coupled convex search of ConvexAdam."""

from dataclasses import dataclass

import torch

from coincide.kernels.smooth import gaussian
from coincide.registry import named, positive
from coincide.search.cost_volume import CostVolume
from coincide.search.levels import Scheme, searched
from coincide.search.search import Picked, Search
from coincide.space.image import Image
from coincide.space.shapes import Field

COUPLING = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # pull towards the smooth field, round by round


@named("convex")
@dataclass(frozen=True)
class Convex(Search):
    r"""Coupled convex search: every control point picks its best shift, the whole is smoothed.

    All shifts of a cube are compared, so that large motion is found that no gradient leads to.
    Two fields take turns, ever more tightly coupled by $\theta$ = 0.003, 0.01, … 1:

    $$
    d_n = \arg\min_d\; c(n, d) + \theta \, |d - u_n|^2 / h^2, \qquad u = G_{\text{smooth}} * d
    $$

    with costs c that are 1 in a random place and the distance h of control points. It is done from
    both images; the two answers are then made to undo each other.

    Args:
        spacing: Distance between control points, h, mm.
        reach: Largest shift along each axis, mm.
        step: Distance between shifts, mm; no finer than the voxels.
        similarity: Whose features are compared, as text: one that is a squared difference, such as
            `mind_ssc`, `dns`, `structural` or `ngf`.
        feature: Voxel size on which features are computed, mm; 0: that of the fixed image.
        levels: How many times; each halves spacing, reach and step and starts from the last.
        evidence: Standard deviation of the Gaussian on the costs, control points.
        smooth: Standard deviation of the Gaussian on the shifts, control points.

    Example:
        >>> found = Convex(spacing=4, reach=4, step=2, levels=1).pick(image, image)
        >>> float(found.transform.field.abs().max()) < 0.1
        True

    References:
        Heinrich et al. (2014), doi:10.1007/978-3-319-10404-1_87;
        Siebert et al. (2021), doi:10.1007/978-3-030-97281-3_25.
    """

    spacing: float = 8.0
    reach: float = 32.0
    step: float = 4.0
    similarity: str = "mind_ssc"
    feature: float = 0.0
    levels: int = 2
    evidence: float = 0.6
    smooth: float = 0.8

    def __post_init__(self):
        positive(self, "spacing", "reach", "step", "levels")
        positive(self, "evidence", "smooth", "feature", zero=True)

    def pick(self, fixed: Image, moving: Image) -> Picked:
        """Where the parts of the fixed image are in the moving image."""
        scheme = Scheme(
            self.spacing,
            self.reach,
            self.step,
            self.similarity,
            self.feature,
            self.levels,
            self.evidence,
        )
        return searched(fixed, moving, scheme, self._solve, stage=self.name)

    def _solve(self, volume: CostVolume, _: Image) -> tuple[Field, list[float]]:
        nodes = volume.lattice.nodes
        # in the first round the weak pull is towards no shift at all
        goal = torch.zeros(1, nodes.dim, *nodes.shape)
        # θ has no unit: distances count in spacings of the control points
        unit = float(nodes.spacing.max()) ** 2
        costs = []
        for coupling in COUPLING:
            shift = volume.best(goal, coupling / unit)
            goal = gaussian(shift, [self.smooth] * nodes.dim)
            costs.append(volume.at(goal))
        return goal, costs

"""Levels: search in both directions, coarse to fine, and put the answers together."""

from collections.abc import Callable
from dataclasses import dataclass

from coincide.kernels.smooth import gaussian
from coincide.kernels.warp import warp
from coincide.registration import Step
from coincide.search.confidence import confidence
from coincide.search.consistency import consistent
from coincide.search.cost_volume import CostVolume, around, compared, volume
from coincide.search.lattice import Lattice, lattice
from coincide.search.search import Picked
from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.space.shapes import Field
from coincide.transforms.displacement import Displacement
from coincide.transforms.sampled import upsampled

# a volume, which may be overwritten, and the image whose cells are moved, to displacements of the
# cells and the costs of all rounds
Solver = Callable[[CostVolume, Image], tuple[Field, list[float]]]


@dataclass(frozen=True)
class Scheme:
    """What is compared, and where, on every level.

    Args:
        spacing: Distance between control points of the first level, mm.
        reach: Largest shift of the first level along each axis, mm.
        step: Distance between shifts of the first level, mm.
        similarity: Text of the similarity whose features are compared.
        feature: Voxel size on which features are computed, mm; 0: that of the fixed image.
        levels: How many; each halves spacing, reach and step of the one before and starts from
            what it found.
        evidence: Standard deviation of the Gaussian on the costs, cells.
    """

    spacing: float
    reach: float
    step: float
    similarity: str
    feature: float
    levels: int
    evidence: float


def searched(fixed: Image, moving: Image, scheme: Scheme, solve: Solver, *, stage: str) -> Picked:
    """Search on every level, from the fixed image and from the moving one, and join both answers.

    Args:
        fixed: (1, C, *S).
        moving: (1, C, *M) on any grid.
        scheme: What is compared.
        solve: Picks shifts from a volume.
        stage: Name under which rounds are kept.

    Raises:
        ValueError: for a batch, or images of different dimension.
    """
    if len(fixed.data) != 1 or len(moving.data) != 1 or fixed.dim != moving.dim:
        raise ValueError(
            f"a search takes one pair of the same dimension, not images of shape "
            f"{tuple(fixed.data.shape)} and {tuple(moving.data.shape)}"
        )
    similarity = compared(scheme.similarity)
    device = fixed.data.device
    fixed, moving = fixed.float().to("cpu"), moving.float().to("cpu")
    fine = fixed.grid.shrink(fixed.grid.factors(scheme.feature))
    history: list[Step] = []
    answer: Displacement | None = None
    for level in range(scheme.levels):
        share = 0.5**level
        plan = lattice(
            fine,
            spacing=share * scheme.spacing,
            reach=share * scheme.reach,
            step=share * scheme.step,
        )
        here, other = around(fixed, fine, plan.wide), around(moving, fine, plan.wide, answer)
        # features see the fine voxels; only they are made coarser
        F, M = (at(similarity.prepare(image), plan.wide) for image in (here, other))
        forward = volume(F, M, plan, scheme.evidence)
        # now, because `solve` may overwrite the volume
        clear = confidence(forward)
        there, costs = solve(forward, at(here, plan.nodes))
        del forward  # one volume at a time
        # the same with the roles exchanged, on the same control points
        back, _ = solve(volume(M, F, plan, scheme.evidence), at(other, plan.nodes))
        there, _ = consistent(there, back, plan.nodes)
        answer = joined(there, plan, answer)
        history += [Step(stage, level, n, cost, {}) for n, cost in enumerate(costs)]
    assert answer is not None
    return Picked(answer.to(device), clear, tuple(history))


def joined(field: Field, plan: Lattice, before: Displacement | None) -> Displacement:
    """The displacement of the cells, smooth between them, followed by what was found before."""
    inner = upsampled(field, plan.nodes, plan.grid)
    # rounds the kinks that linear interpolation leaves at the control points
    inner = gaussian(inner, [0.5 * c if c > 1 else 0.0 for c in plan.cell])
    if before is not None:
        grid = before.grid
        assert grid is not None
        index = plan.grid.index_in(grid)[:-1]
        values = before.field.detach()
        # the new displacement acts first, as the moving image was seen under the old one
        inner = inner + warp(values, inner, index, grid.inverse[:-1, :-1], clamp=True)[0]
    return Displacement(field=inner, grid=plan.grid)

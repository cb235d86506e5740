"""Optimise: a way that moves a transform downhill."""

import copy
from dataclasses import dataclass

from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.registry import build, named
from coincide.transforms.bspline_velocity import BSplineVelocity
from coincide.transforms.displacement import Displacement
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import Velocity
from coincide.way import Found, Pair, Watch, Way


@named("optimise")
@dataclass(frozen=True)
class Optimise(Way):
    """Optimise a transform, coarse to fine; a network of coordinates is one like any other.

    It goes on from a transform of its own kind, and a displacement from a velocity too, whose flow
    it takes over as it is; any other it begins anew, on top of it.

    Args:
        transform: What is moved, a part or text such as `velocity(spacing=4)`.
        levels: Coarse to fine, each with objective and optimiser.
    """

    transform: str | Transform = "displacement"
    levels: tuple[Level, ...] = ()

    def refines(self, start: Transform) -> bool:
        """Transforms of the same kind are gone on from, and flows by a displacement."""
        return continued(start, made(self.transform))

    def __call__(
        self, pair: Pair, start: Transform | None = None, watch: Watch | None = None
    ) -> Found:
        """Optimise on the pair's images.

        Raises:
            ValueError: if there is no level, or the transform holds values already: these are a
                start.
        """
        if not self.levels:
            raise ValueError(
                "optimise takes one level or more, such as "
                "optimise(levels=(level(objective='ngf', optimiser='compositive'),))"
            )
        fixed, moving = pair.images
        part = made(self.transform)
        if start is not None:
            part = _from(start, part)
        found = optimise(fixed, moving, part, levels=self.levels, outer=pair.outer, watch=watch)
        transform = found.transform.to("cpu")
        return Found(transform, self, found.history, found.status, found.seconds)


def made(transform: str | Transform) -> Transform:
    """The transform that a way is to find, without values.

    Raises:
        ValueError: if it holds some.
    """
    part = build(transform, Transform) if isinstance(transform, str) else transform
    if part.state_dict():
        raise ValueError(
            f"a way makes its {type(part).__name__} anew; give the one that holds values "
            "already as initial="
        )
    return part


def continued(start: Transform, part: Transform) -> bool:
    """Whether a part can hold what a start is, and be moved from there."""
    return type(start) is type(part) or (
        isinstance(part, Displacement) and isinstance(start, Velocity | BSplineVelocity)
    )


def _from(start: Transform, part: Transform) -> Transform:
    """A copy of the start to be moved, its parameters as far apart as was asked for."""
    if isinstance(part, Displacement) and isinstance(start, Velocity | BSplineVelocity):
        # both are linear between the voxels on which the flow was integrated
        grid = start.grid if isinstance(start, Velocity) else start.field_grid
        start = Displacement(field=start.integrated().detach(), grid=grid)
    # a copy, as the start may be frozen and must not change for whoever holds it
    moved = copy.deepcopy(start).requires_grad_(True)
    if hasattr(part, "spacing"):
        moved.spacing = part.spacing
    return moved

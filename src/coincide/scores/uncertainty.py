"""Uncertainty: how far a transform that consists of two answers disagrees with itself."""

from dataclasses import asdict, dataclass

from coincide.space.image import Image
from coincide.transforms.composite import Composite
from coincide.transforms.cycle import Cycle
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class Uncertainty:
    """Distance between what two networks say, over the fixed mask.

    Args:
        mean_mm: Its mean: the score of the case. A fit whose mean is several times that of others
            of its kind has failed.
        p95_mm: Its 95th percentile.
        max_mm: Its largest value.
    """

    mean_mm: float
    p95_mm: float
    max_mm: float

    def to_dict(self) -> dict[str, float]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


def uncertainty(transform: Transform, fixed: Image) -> Uncertainty | None:
    """The uncertainty of a `cycle`, also where linear maps lie behind it; None for all others.

    Args:
        transform: Fixed-world to moving-world points.
        fixed: Where it is measured, inside its mask.
    """
    # of a chain the last acts first, on points of the fixed world
    first = list(transform)[-1] if isinstance(transform, Composite) else transform
    if not isinstance(first, Cycle):
        return None
    apart = first.uncertainty_map(fixed.grid).data.cpu()
    inside = apart[fixed.weight().cpu().expand_as(apart) > 0.5].double()
    if not len(inside):
        return None
    # torch's quantile takes 16 million numbers at most
    high = inside.sort().values[min(len(inside) - 1, int(0.95 * len(inside)))]
    return Uncertainty(float(inside.mean()), float(high), float(inside.max()))

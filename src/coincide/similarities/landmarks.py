"""Landmark distance: points known to correspond."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.alignment import Alignment
from coincide.objective import OnPair, PairedTerm
from coincide.registry import named
from coincide.space.shapes import PerPair


@named("landmarks")
@dataclass(frozen=True)
class Landmarks(PairedTerm):
    r"""Mean distance between where landmarks are sent and where they belong, mm.

    $$
    \frac{1}{P} \sum_p \sqrt{|T(x_p) - y_p|^2 + \delta^2} - \delta, \qquad
    \delta = 0.1\,\mathrm{mm}
    $$

    Used beside a similarity, or alone.

    Example:
        >>> same = Landmarks().of(points[0].numpy(), points[0].numpy())
        >>> same(alignment)
        tensor([0.], dtype=torch.float64)
    """

    def of(self, fixed: np.ndarray, moving: np.ndarray) -> OnPair:
        """The term for landmarks in mm, each in the world of its image.

        Args:
            fixed: (P, D) of one pair; or (B, P, D), those of each pair of a batch, NaN where a
                pair has fewer, and 0 is the cost of one that has none.
            moving: The same.

        Raises:
            ValueError: if the two sets differ in shape.
        """
        return OnPair(self, *paired(fixed, moving))

    def cost(self, fixed: np.ndarray, moving: np.ndarray, alignment: Alignment) -> PerPair:
        """Distance in mm, (B,)."""
        gap, weight = gaps(fixed, moving, alignment)
        # δ² = 0.01 mm²: the root alone has no slope where a landmark is met
        return (weight * ((gap + 0.01).sqrt() - 0.1)).sum(-1)


def paired(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points that correspond row by row, (P, D) or (B, P, D) each.

    Raises:
        ValueError: if the two sets differ in shape.
    """
    if np.shape(fixed) != np.shape(moving) or np.ndim(fixed) not in (2, 3):
        raise ValueError(
            f"landmarks come in pairs (P, D): got {np.shape(fixed)} fixed and "
            f"{np.shape(moving)} moving points"
        )
    return fixed, moving


def gaps(fixed: np.ndarray, moving: np.ndarray, alignment: Alignment) -> tuple[Tensor, Tensor]:
    """Squared distance of every point from where it belongs, mm², and its share, (B, P) each."""
    device = alignment.fixed.data.device
    here, there = (torch.as_tensor(p, dtype=torch.float64, device=device) for p in (fixed, moving))
    if here.ndim == 2:
        here, there = here[None], there[None]
    known = ~(here.isnan() | there.isnan()).any(-1)
    # some place in the world, as what is not a number lies on no voxel
    here, there = here.nan_to_num(), there.nan_to_num()
    gap = (alignment.transform(here) - there).square().sum(-1)
    return gap, known / known.sum(-1, keepdim=True).clamp_min(1)

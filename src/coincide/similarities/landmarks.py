"""Landmark distance: points known to correspond."""

from dataclasses import dataclass

import numpy as np
import torch

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
        """The term for landmarks (P, D) in mm, each in the world of its image.

        Raises:
            ValueError: if the two sets differ in shape.
        """
        if np.shape(fixed) != np.shape(moving) or np.ndim(fixed) != 2:
            raise ValueError(
                f"landmarks come in pairs (P, D): got {np.shape(fixed)} fixed and "
                f"{np.shape(moving)} moving points"
            )
        return OnPair(self, fixed, moving)

    def cost(self, fixed: np.ndarray, moving: np.ndarray, alignment: Alignment) -> PerPair:
        """Distance in mm, (B,)."""
        here, there = (
            torch.as_tensor(p, dtype=torch.float64, device=alignment.fixed.data.device)[None]
            for p in (fixed, moving)
        )
        gap = (alignment.transform(here) - there).square().sum(-1)
        # δ² = 0.01 mm²: the root alone has no slope where a landmark is met
        return ((gap + 0.01).sqrt() - 0.1).mean(-1)

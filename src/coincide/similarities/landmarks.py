"""Landmark distance: points known to correspond."""

from dataclasses import dataclass

import numpy as np
import torch

from coincide.alignment import Alignment
from coincide.objective import Term
from coincide.space.shapes import PerPair


@dataclass(frozen=True, eq=False)
class Landmarks(Term):
    r"""Mean distance between where landmarks are sent and where they belong, mm.

    $$
    \frac{1}{P} \sum_p \sqrt{|T(x_p) - y_p|^2 + \delta^2} - \delta, \qquad
    \delta = 0.1\,\mathrm{mm}
    $$

    Args:
        fixed: (P, D) positions in the fixed world, mm.
        moving: (P, D) positions in the moving world, mm.

    Raises:
        ValueError: if the two sets differ in shape.
    """

    fixed: np.ndarray
    moving: np.ndarray
    name = "landmarks"

    def __post_init__(self):
        if np.shape(self.fixed) != np.shape(self.moving):
            raise ValueError(
                f"landmarks come in pairs: got {np.shape(self.fixed)} fixed and "
                f"{np.shape(self.moving)} moving points"
            )

    def __str__(self) -> str:
        return f"landmarks of {len(self.fixed)} points"

    def __call__(self, alignment: Alignment) -> PerPair:
        """Distance in mm, (B,)."""
        fixed = torch.as_tensor(self.fixed, dtype=torch.float64)[None]
        moving = torch.as_tensor(self.moving, dtype=torch.float64)[None]
        gap = (alignment.transform(fixed) - moving).square().sum(-1)
        return ((gap + 0.01).sqrt() - 0.1).mean(-1)

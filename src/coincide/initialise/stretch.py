"""Stretch: how far a linear map is from a rigid one."""

import torch

from coincide.alignment import Alignment
from coincide.objective import Penalty
from coincide.space.shapes import Matrix, PerPair
from coincide.transforms.linear import Linear


class Stretch(Penalty):
    r"""Squared Hencky strain of a linear transform (no unit); 0 for rigid motion.

    $$\big\| \tfrac12 \log A^\top A \big\|_F^2$$

    Growing and shrinking by the same factor cost the same, whatever the direction.

    References:
        Hencky (1928); Ashburner et al. (1999), doi:10.1006/nimg.1998.0438, on why such a prior
        steadies affine registration.
    """

    name = "stretch"

    def __call__(self, alignment: Alignment) -> PerPair:
        """Cost, (B,)."""
        assert isinstance(alignment.transform, Linear)
        return stretch(alignment.transform.matrix()[:, :-1, :-1])

    def __str__(self) -> str:
        return self.name


def stretch(linear: Matrix) -> PerPair:
    """Squared Hencky strain of (B, D, D) matrices, (B,)."""
    # eigenvalues of AᵀA are squared stretches, so that half their logarithm is the strain
    squared = torch.linalg.eigvalsh(linear.transpose(1, 2) @ linear)
    return (0.5 * squared.clamp_min(1e-12).log()).square().sum(1)

"""Huber difference: same contrast, with places that have no counterpart."""

from dataclasses import dataclass

import torch

from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("huber")
@dataclass(frozen=True)
class Huber(Similarity):
    r"""Squared difference that grows only linearly where images differ much, as at a lesion.

    $$
    \frac{1}{|\Omega|} \int_\Omega \rho\!\left(\frac{W - F}{\sigma_F}\right) \mathrm{d}x, \qquad
    \rho(d) = \begin{cases} d^2 & |d| \le \delta \\ \delta\,(2 |d| - \delta) & \text{else}
    \end{cases}
    $$

    with the standard deviation $\sigma_F$ of the fixed image inside its mask, so that neither the
    value nor `delta` depends on the unit of the intensities.

    Args:
        delta: Difference, as a fraction of the fixed image's standard deviation, from which on
            it counts linearly (no unit, > 0).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,), 0 is best.

    Example:
        >>> Huber().compare(image, image)
        tensor([0.])

    References:
        Huber (1964), doi:10.1214/aoms/1177703732.
    """

    pointwise = True
    delta: float = 0.5

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        spread = deviation(fixed)
        cost = warped.mean(self._rho((warped.data - fixed.data) / spread))
        seen = warped.weight().flatten(1).sum(1) > 0
        # with nothing in view the two differ by all there is, as in `mse`
        return torch.where(seen, cost, self._rho(fixed.data / spread).flatten(1).mean(1))

    def _rho(self, difference: torch.Tensor) -> torch.Tensor:
        away = difference.abs()
        near = away.clamp_max(self.delta)
        # d² up to δ and δ (2|d| - δ) beyond, in one expression with the right slope in both
        return near * (2 * away - near)


def deviation(image: Image) -> torch.Tensor:
    """Standard deviation of every channel inside the mask, (B, C, 1...); never quite zero."""
    weight = image.weight()
    voxels = tuple(range(2, image.data.ndim))
    mass = weight.sum(voxels, keepdim=True).clamp_min(1e-12)
    centred = image.data - (weight * image.data).sum(voxels, keepdim=True) / mass
    return ((weight * centred.square()).sum(voxels, keepdim=True) / mass).sqrt().clamp_min(1e-6)

"""Global normalised correlation: one contrast, unknown scale and offset."""

from dataclasses import dataclass

from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair


@named("ncc")
@dataclass(frozen=True)
class NCC(Similarity):
    r"""One minus Pearson's correlation, for images equal up to brightness and contrast.

    $$
    \mathrm{NCC}(F, W) = 1 - \frac{\int_\Omega (F - \bar F)(W - \bar W)}
        {\sqrt{\int_\Omega (F - \bar F)^2 \int_\Omega (W - \bar W)^2}}
    $$

    so that $\mathrm{NCC}(F, aW + b)$ is unchanged for $a > 0$; a constant image gives 1.

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 2], 0 is best.

    Example:
        >>> NCC().compare(image, image)
        tensor([0.])
    """

    pointwise = True

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        weight = warped.weight()
        voxels = tuple(range(2, fixed.data.ndim))
        mass = weight.sum(voxels, keepdim=True).clamp_min(1e-12)
        f = fixed.data - (weight * fixed.data).sum(voxels, keepdim=True) / mass
        w = warped.data - (weight * warped.data).sum(voxels, keepdim=True) / mass
        covariance = (weight * f * w).sum(voxels)
        # a constant image has no spread: its covariance of zero makes the cost 1
        spread = ((weight * f * f).sum(voxels) * (weight * w * w).sum(voxels)).clamp_min(1e-20)
        return (1 - covariance / spread.sqrt()).mean(1)

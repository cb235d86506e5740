"""Structural similarity: local brightness, contrast and pattern at once."""

from dataclasses import dataclass

import torch

from coincide.kernels.smooth import gaussian
from coincide.objective import Similarity
from coincide.registry import named
from coincide.space.image import Image
from coincide.space.shapes import PerPair

BRIGHTNESS, CONTRAST = 0.01**2, 0.03**2  # the constants of Wang et al. for a range of one
RANGE = 6.0  # standard deviations that are taken for the range of an image


@named("ssim")
@dataclass(frozen=True)
class SSIM(Similarity):
    r"""One minus the structural similarity index, for images of the same contrast.

    $$
    1 - \frac{1}{|\Omega|} \int_\Omega
        \frac{(2 \mu_F \mu_W + c_1)(2 \sigma_{FW} + c_2)}
        {(\mu_F^2 + \mu_W^2 + c_1)(\sigma_F^2 + \sigma_W^2 + c_2)} \, \mathrm{d}x
    $$

    with means, variances and covariance under a Gaussian window, $c_1 = 0.01^2$ and
    $c_2 = 0.03^2$. Both images are standardised first: six standard deviations about the mean
    become the range 0 to 1. Where `lncc` forgives any local change of brightness, this does not.

    Args:
        sigma: Standard deviation of the window, voxels of the level's finest axis and as many mm
            along the others (> 0).

    Shape:
        `fixed.data` and `warped.data` (B, C, *S) on one grid; returns (B,) in [0, 2], 0 is best.

    Example:
        >>> bool(SSIM().compare(*[SSIM().prepare(image)] * 2).abs() < 1e-5)
        True

    References:
        Wang et al. (2004), doi:10.1109/TIP.2003.819861.
    """

    sigma: float = 1.5

    def prepare(self, image: Image) -> Image:
        """The image with mean 1/2 and standard deviation 1/6."""
        image = image.standardised()
        return image.with_data(image.data / RANGE + 0.5)

    def compare(self, fixed: Image, warped: Image) -> PerPair:
        """Cost, (B,)."""
        weight = warped.weight()
        sigma = [self.sigma * float(r) for r in fixed.grid.fineness]
        mass = gaussian(weight, sigma).clamp_min(1e-6)
        # about the middle of the range, where squares of single precision cancel least
        f, w = fixed.data - 0.5, warped.data - 0.5
        products = torch.cat([f, w, f * f, w * w, f * w], 1)
        mf, mw, ff, ww, fw = (gaussian(weight * products, sigma) / mass).chunk(5, 1)
        pattern = 2 * (fw - mf * mw) + CONTRAST
        # differences of means may come out below zero where the window is flat
        contrast = (ff - mf**2).clamp_min(0) + (ww - mw**2).clamp_min(0) + CONTRAST
        # back to the range of 0 to 1, for which the constant is meant
        mf, mw = mf + 0.5, mw + 0.5
        brightness = (2 * mf * mw + BRIGHTNESS) / (mf**2 + mw**2 + BRIGHTNESS)
        return 1 - warped.mean(brightness * pattern / contrast)

"""Demons: the mean squared difference of two images and the force of Thirion's demons."""

import numpy as np
import torch

from coincide.kernels.native import demons as native
from coincide.kernels.native.jit import lifted, lifted_field, lifted_matrix
from coincide.kernels.reference import demons as reference
from coincide.space.grid import tensor
from coincide.space.shapes import Field, PerPair, Volume


def demons(
    fixed: Volume,
    warped: Volume,
    mask: Volume,
    metric: np.ndarray,
    *,
    longest: float,
    share: float,
    floor: float,
    out: Field,
) -> PerPair:
    r"""Mean squared difference, and the force $m\,d\,g / (|g|^2 + (d^2 + \eta) / 4 \ell^2)$.

    Here d = F - W; with several channels each product is summed over them. The force is never
    longer than $\ell$, whatever the images.

    Args:
        fixed: F, (B, C, *S).
        warped: W, (B, C, *S).
        mask: m, (B, 1, *S) weights.
        metric: (D, D) symmetric; inverse of the grid's squared spacing, 1/mm².
        longest: Bound on the length of the force, mm.
        share: Of the warped image's gradient in g, 0 to 1; the fixed image's has the rest.
        floor: η, squared difference that is noise (> 0).
        out: Receives the force, (B, D, *S), voxels.

    Returns:
        Mean over channels and mask of (F - W)², (B,).
    """
    noise = 0.25 / longest**2
    if fixed.device.type != "cpu":
        m = tensor(metric, fixed)
        value, force = reference.demons(fixed, warped, mask, m, noise, share, floor)
        out.copy_(force)
        return value
    f, w, m = lifted(fixed), lifted(warped), lifted(mask.to(fixed.dtype))
    target = lifted_field(out)
    matrix, kind = lifted_matrix(metric, f.dtype), f.dtype.type
    numbers = kind(noise), kind(share), kind(floor)
    rows = np.empty((len(f), f.shape[2] * f.shape[3], 2))
    for b in range(len(f)):
        native.demons(f[b], w[b], m[b, 0], matrix, *numbers, target[b], rows[b])
    if out.shape[1] < 3:
        out.copy_(torch.from_numpy(target[:, 3 - out.shape[1] :]).view(out.shape))
    total = rows.sum(1)
    value = total[:, 0] / np.maximum(fixed.shape[1] * total[:, 1], 1e-12)
    return torch.as_tensor(value, dtype=fixed.dtype)

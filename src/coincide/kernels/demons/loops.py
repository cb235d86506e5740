"""Compiled demons: squared difference and force in one pass."""

import numpy as np
from numba import prange

from coincide.kernels.compile import loop


@loop
def demons(fixed, warped, mask, metric, noise, share, floor, force, rows):
    """Force = m d g / (|g|² + noise (d² + floor)), g the mixed gradient; rows: sums of m d² and m.

    Central differences, border continued; with several channels both sums run over them.

    Args:
        fixed: (C, X, Y, Z).
        warped: (C, X, Y, Z).
        mask: (X, Y, Z) weights.
        metric: (3, 3) inverse of the grid's squared spacing.
        noise: What the squared difference is worth, 1/mm².
        share: Of the warped image in the gradient, 0 to 1; the fixed image has the rest.
        floor: Squared difference that is noise.
        force: (3, X, Y, Z), voxels.
        rows: (X * Y, 2) float64.
    """
    channels, X, Y, Z = fixed.shape
    f = fixed.dtype.type
    # each image's share of the gradient, and the half of a central difference
    p, q = f(0.5) * (f(1) - share), f(0.5) * share
    m00, m01, m02 = metric[0, 0], metric[0, 1], metric[0, 2]
    m11, m12, m22 = metric[1, 1], metric[1, 2], metric[2, 2]
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2 = max(i - 1, 0), min(i + 1, X - 1)
        j1, j2 = max(j - 1, 0), min(j + 1, Y - 1)
        gx = np.zeros(Z, fixed.dtype)
        gy = np.zeros(Z, fixed.dtype)
        gz = np.zeros(Z, fixed.dtype)
        slope = np.empty(Z, fixed.dtype)
        size = np.zeros(Z, fixed.dtype)
        square = np.zeros(Z, fixed.dtype)
        for c in range(channels):
            a, b = fixed[c, i, j], warped[c, i, j]
            ax, bx = fixed[c, i2, j], warped[c, i2, j]
            ay, by = fixed[c, i, j2], warped[c, i, j2]
            au, bu = fixed[c, i1, j], warped[c, i1, j]
            av, bv = fixed[c, i, j1], warped[c, i, j1]
            for k in range(1, Z - 1):
                slope[k] = p * (a[k + 1] - a[k - 1]) + q * (b[k + 1] - b[k - 1])
            last = Z - 1
            near, far = min(1, last), max(last - 1, 0)
            # the border is continued, so half of the one difference there is; along one voxel, zero
            slope[0] = p * (a[near] - a[0]) + q * (b[near] - b[0])
            slope[last] = p * (a[last] - a[far]) + q * (b[last] - b[far])
            for k in range(Z):
                d = a[k] - b[k]
                x = p * (ax[k] - au[k]) + q * (bx[k] - bu[k])
                y = p * (ay[k] - av[k]) + q * (by[k] - bv[k])
                z = slope[k]
                gx[k] += d * x
                gy[k] += d * y
                gz[k] += d * z
                size[k] += x * (m00 * x + f(2) * (m01 * y + m02 * z))
                size[k] += y * (m11 * y + f(2) * m12 * z) + m22 * z * z
                square[k] += d * d
        u, v, w, m = force[0, i, j], force[1, i, j], force[2, i, j], mask[i, j]
        total, weight = f(0), f(0)
        for k in range(Z):
            # floor keeps the quotient finite where both images are flat and alike
            s = m[k] / (size[k] + noise * (square[k] + floor))
            # a gradient per voxel becomes a step in voxels by the inverse of the squared spacing
            u[k] = s * (m00 * gx[k] + m01 * gy[k] + m02 * gz[k])
            v[k] = s * (m01 * gx[k] + m11 * gy[k] + m12 * gz[k])
            w[k] = s * (m02 * gx[k] + m12 * gy[k] + m22 * gz[k])
            total += m[k] * square[k]
            weight += m[k]
        rows[row, 0], rows[row, 1] = total, weight

"""Compiled squared difference of two images: value and slope, or value and force, in one pass."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import loop


@loop
def squared(fixed, warped, mask, scale, partial, slope):
    """partial[chunk] += m (W - F)², slope = scale·2 m (W - F); volumes are (C, voxels)."""
    channels, voxels = fixed.shape
    chunks = partial.size
    size = (voxels + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(voxels, (chunk + 1) * size)
        total = 0.0
        for c in range(channels):
            f, w, s = fixed[c], warped[c], slope[c]
            for start in range(begin, end, 4096):
                part = fixed.dtype.type(0)
                for p in range(start, min(start + 4096, end)):
                    d = w[p] - f[p]
                    md = mask[p] * d
                    part += md * d
                    s[p] = scale * md
                total += np.float64(part)
        partial[chunk] = total


@loop
def squared_pull(fixed, warped, mask, scale, metric, partial, out):
    """partial[row] = m (W - F)², out = -metric · scale Σ_c m (W_c - F_c) ∇W_c.

    Volumes are (C, X, Y, Z); central differences, zero at the border.
    """
    channels, X, Y, Z = warped.shape
    f = warped.dtype.type
    half = f(0.5) * scale
    m00, m01, m02 = metric[0, 0] * half, metric[0, 1] * half, metric[0, 2] * half
    m11, m12, m22 = metric[1, 1] * half, metric[1, 2] * half, metric[2, 2] * half
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        i1, i2 = max(i - 1, 0), min(i + 1, X - 1)
        j1, j2 = max(j - 1, 0), min(j + 1, Y - 1)
        gx, gy, gz = np.zeros(Z, warped.dtype), np.zeros(Z, warped.dtype), np.zeros(Z, warped.dtype)
        s = np.empty(Z, warped.dtype)
        m = mask[i, j]
        total = 0.0
        for c in range(channels):
            w, still = warped[c, i, j], fixed[c, i, j]
            for k in range(Z):
                s[k] = m[k] * (w[k] - still[k])
            part = f(0)
            for k in range(Z):
                part += s[k] * (w[k] - still[k])
            total += np.float64(part)
            a, b = warped[c, i1, j], warped[c, i2, j]
            for k in range(Z):
                gx[k] -= s[k] * (b[k] - a[k])
            a, b = warped[c, i, j1], warped[c, i, j2]
            for k in range(Z):
                gy[k] -= s[k] * (b[k] - a[k])
            for k in range(1, Z - 1):
                gz[k] -= s[k] * (w[k + 1] - w[k - 1])
        partial[row] = total
        u, v, t = out[0, i, j], out[1, i, j], out[2, i, j]
        for k in range(Z):
            u[k] = m00 * gx[k] + m01 * gy[k] + m02 * gz[k]
        for k in range(Z):
            v[k] = m01 * gx[k] + m11 * gy[k] + m12 * gz[k]
        for k in range(Z):
            t[k] = m02 * gx[k] + m12 * gy[k] + m22 * gz[k]

"""Compiled sums of the normal equations of a linear map, in one pass over the voxels."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop
from coincide.kernels.warp.loops import locate, strides


@inline
def products(volume, fixed, step, address, fraction, free, weight, square, force):
    """For one row: m Σ_c q qᵀ (6, K), m Σ_c r q (3, K); returns m Σ_c r² over the row.

    q is the slope of channel c by the position, r its difference from the fixed image, m the
    weight.
    """
    sx, sy, sz = step
    square[:] = 0
    force[:] = 0
    total = 0.0
    for c in range(volume.shape[0]):
        v, f = volume[c], fixed[c]
        part = volume.dtype.type(0)
        for k in range(address.size):
            p = np.uint64(address[k])
            fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
            ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
            a, b, d, e = v[p], v[p + sz], v[p + sy], v[p + sy + sz]
            h = p + sx
            r, s, t, w = v[h], v[h + sz], v[h + sy], v[h + sy + sz]
            # interpolated in the two planes about the position along x
            low = ey * (ez * a + fz * b) + fy * (ez * d + fz * e)
            high = ey * (ez * r + fz * s) + fy * (ez * t + fz * w)
            x = free[0, k] * (high - low)
            y = free[1, k] * (
                ex * (ez * (d - a) + fz * (e - b)) + fx * (ez * (t - r) + fz * (w - s))
            )
            z = free[2, k] * (
                ex * (ey * (b - a) + fy * (e - d)) + fx * (ey * (s - r) + fy * (w - t))
            )
            m = weight[k]
            gap = low + fx * (high - low) - f[k]
            part += m * gap * gap
            mx, my, mz = m * x, m * y, m * z
            square[0, k] += mx * x
            square[1, k] += mx * y
            square[2, k] += mx * z
            square[3, k] += my * y
            square[4, k] += my * z
            square[5, k] += mz * z
            force[0, k] += mx * gap
            force[1, k] += my * gap
            force[2, k] += mz * gap
        total += part
    return total


@loop
def row_sums(fixed, volume, still, index, mask, out):
    """Sums over each row of voxels (i, j): everything that the normal equations are made of.

    out[row] = Σ m r², Σ m, Σ m q qᵀ · (1, k, k²) (18), Σ m r q · (1, k) (6).
    """
    channels, X, Y, Z = volume.shape
    _, I, J, K = fixed.shape
    flat = volume.reshape(channels, X * Y * Z)
    step = strides(X, Y, Z)
    for row in prange(I * J):
        i = row // J
        j = row - i * J
        address = np.empty(K, np.int32)
        fraction = np.empty((3, K), volume.dtype)
        weight = np.empty(K, volume.dtype)
        known = np.empty(K, volume.dtype)
        free = np.empty((3, K), volume.dtype)
        square = np.empty((6, K), volume.dtype)
        force = np.empty((3, K), volume.dtype)
        size = (X, Y, Z)
        # outside the volume a voxel has no weight
        keep = volume.dtype.type(0)
        # nothing is displaced, so that any matrix serves as the scale
        locate(i, j, 0, still, index, index, size, keep, address, fraction, free, weight, known)
        for k in range(K):
            weight[k] *= mask[i, j, k]
        line = fixed[:, i, j]
        out[row, 0] = products(flat, line, step, address, fraction, free, weight, square, force)
        out[row, 1] = weight.sum()
        for n in range(6):
            zeroth, first, second = 0.0, 0.0, 0.0
            for k in range(K):
                # in double precision, as k² spans many orders along a row
                value = np.float64(square[n, k])
                zeroth += value
                first += value * k
                second += value * k * k
            out[row, 2 + 3 * n] = zeroth
            out[row, 3 + 3 * n] = first
            out[row, 4 + 3 * n] = second
        for n in range(3):
            zeroth, first = 0.0, 0.0
            for k in range(K):
                value = np.float64(force[n, k])
                zeroth += value
                first += value * k
            out[row, 20 + 2 * n] = zeroth
            out[row, 21 + 2 * n] = first

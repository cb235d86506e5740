"""Compiled squared difference of a displaced feature image, with the force that lowers it.

Features lie side by side, so that the eight corners of a position are eight short runs of memory
and all features are interpolated together.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import loop
from coincide.kernels.native.warp import locate, strides

CHUNKS = 128  # pieces of work, each with arrays of its own for a row
LANES = 8  # features handled at once


@loop
def squares(fixed, moving, weight, seen, masked, field, index, value, out):
    """Force of the squared difference, and its value.

    `fixed` (X, Y, Z, C) and `moving` (P, Q, R, C) have C a multiple of eight, zeros added;
    `weight` (X, Y, Z) is where the fixed image counts and, if `masked`, `seen` (P, Q, R) where the
    moving one does. out = -Σ_c m (W_c - F_c) ∇M_c, in voxels; `value` receives for each piece the
    sums of m Σ_c (W_c - F_c)² and of m.
    """
    P, Q, R, C = moving.shape
    X, Y, Z = weight.shape
    kind = weight.dtype.type
    zero, one = kind(0), kind(1)
    flat = moving.reshape(P * Q * R, C)
    other = seen.ravel()
    sx, sy, sz = strides(P, Q, R)
    size = (P, Q, R)
    chunks = value.shape[0]
    for chunk in prange(chunks):
        address = np.empty(Z, np.int32)
        fraction = np.empty((3, Z), weight.dtype)
        inside = np.empty(Z, weight.dtype)
        known = np.empty(Z, weight.dtype)
        free = np.empty((3, Z), weight.dtype)
        total = 0.0
        mass = 0.0
        for row in range(chunk * X * Y // chunks, (chunk + 1) * X * Y // chunks):
            i = row // Y
            j = row - i * Y
            locate(i, j, field, index, index, size, zero, address, fraction, free, inside, known)
            part = zero
            count = zero
            for k in range(Z):
                m = known[k] * weight[i, j, k]
                p = address[k]
                fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
                ex, ey, ez = one - fx, one - fy, one - fz
                if masked and m > zero:
                    m *= ex * (
                        ey * (ez * other[p] + fz * other[p + sz])
                        + fy * (ez * other[p + sy] + fz * other[p + sy + sz])
                    ) + fx * (
                        ey * (ez * other[p + sx] + fz * other[p + sx + sz])
                        + fy * (ez * other[p + sx + sy] + fz * other[p + sx + sy + sz])
                    )
                if m <= zero:
                    out[0, i, j, k] = zero
                    out[1, i, j, k] = zero
                    out[2, i, j, k] = zero
                    continue
                f = fixed[i, j, k]
                a, b, d, e = flat[p], flat[p + sz], flat[p + sy], flat[p + sy + sz]
                h = p + sx
                r, s, t, w = flat[h], flat[h + sz], flat[h + sy], flat[h + sy + sz]
                gx = gy = gz = rest = zero
                for start in range(0, C, LANES):
                    for c in range(start, start + LANES):
                        near = ez * a[c] + fz * b[c]
                        far = ez * d[c] + fz * e[c]
                        below = ey * near + fy * far
                        beside = ez * r[c] + fz * s[c]
                        beyond = ez * t[c] + fz * w[c]
                        above = ey * beside + fy * beyond
                        apart = ex * below + fx * above - f[c]
                        rest += apart * apart
                        gx += apart * (above - below)
                        gy += apart * (ex * (far - near) + fx * (beyond - beside))
                        gz += apart * (
                            ex * (ey * (b[c] - a[c]) + fy * (e[c] - d[c]))
                            + fx * (ey * (s[c] - r[c]) + fy * (w[c] - t[c]))
                        )
                part += m * rest
                count += m
                out[0, i, j, k] = -m * free[0, k] * gx
                out[1, i, j, k] = -m * free[1, k] * gy
                out[2, i, j, k] = -m * free[2, k] * gz
            total += np.float64(part)
            mass += np.float64(count)
        value[chunk, 0] = total
        value[chunk, 1] = mass


@loop
def scaled(field, matrix):
    """Field (3, X, Y, Z) = matrix · field, in place."""
    _, X, Y, Z = field.shape
    m00, m01, m02 = matrix[0, 0], matrix[0, 1], matrix[0, 2]
    m10, m11, m12 = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    m20, m21, m22 = matrix[2, 0], matrix[2, 1], matrix[2, 2]
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        a, b, c = field[0, i, j], field[1, i, j], field[2, i, j]
        for k in range(Z):
            x, y, z = a[k], b[k], c[k]
            a[k] = m00 * x + m01 * y + m02 * z
            b[k] = m10 * x + m11 * y + m12 * z
            c[k] = m20 * x + m21 * y + m22 * z

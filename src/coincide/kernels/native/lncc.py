"""Compiled local correlation: windows slide along the first axis, sums never recomputed.

Windows shrink at the border. Sums over the first axis are kept a plane at a time, sums over the
second a row at a time and sums over the third in running scalars, so that a voxel costs the same
whatever the radius.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def slide(sums, j, radius, column):
    """Move the sums over rows j - radius ... j + radius one row on."""
    if j + radius < sums.shape[1]:
        for q in range(sums.shape[0]):
            for k in range(sums.shape[2]):
                column[q, k] += sums[q, j + radius, k]
    if j - radius - 1 >= 0:
        for q in range(sums.shape[0]):
            for k in range(sums.shape[2]):
                column[q, k] -= sums[q, j - radius - 1, k]


@loop
def correlate(fixed, warped, mask, radius, floor, chunks, value, a, b, c):
    """Squared correlation and the three fields that its gradient is made of.

    For the window about x with n weights, covariance A and variances B and C (floored),
    cc = A² / (B C); a = 2 A m / (B C), b = 2 A² m / (B C²), c = a·mean_F - b·mean_W, with m the
    weight of x. `value` receives, for each chunk, the sums of m·cc and of m.
    """
    X, Y, Z = fixed.shape
    rx, ry, rz = radius
    zero = fixed.dtype.type(0)
    one = fixed.dtype.type(1)
    size = (X + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(X, (chunk + 1) * size)
        sums = np.zeros((6, Y, Z), fixed.dtype)
        column = np.zeros((6, Z), fixed.dtype)
        score = 0.0
        weight = 0.0
        for plane in range(max(0, begin - rx), end + rx):
            for sign in range(2):
                # the plane that enters, then the one that leaves
                p = plane if sign == 0 else plane - 2 * rx - 1
                if p < max(0, begin - rx) or p >= X:
                    continue
                s = one if sign == 0 else -one
                for j in range(Y):
                    f, w, m = fixed[p, j], warped[p, j], mask[p, j]
                    for k in range(Z):
                        x = s * m[k]
                        sums[0, j, k] += x
                        sums[1, j, k] += x * f[k]
                        sums[2, j, k] += x * w[k]
                        sums[3, j, k] += x * f[k] * f[k]
                        sums[4, j, k] += x * w[k] * w[k]
                        sums[5, j, k] += x * f[k] * w[k]
            i = plane - rx
            if i < begin or i >= end:
                continue
            column[:] = zero
            for j in range(-ry, Y):
                slide(sums, j, ry, column)
                if j < 0:
                    continue
                n = sf = sw = sff = sww = sfw = zero
                for k in range(min(rz, Z)):
                    n += column[0, k]
                    sf += column[1, k]
                    sw += column[2, k]
                    sff += column[3, k]
                    sww += column[4, k]
                    sfw += column[5, k]
                for k in range(Z):
                    if k + rz < Z:
                        n += column[0, k + rz]
                        sf += column[1, k + rz]
                        sw += column[2, k + rz]
                        sff += column[3, k + rz]
                        sww += column[4, k + rz]
                        sfw += column[5, k + rz]
                    if k - rz - 1 >= 0:
                        n -= column[0, k - rz - 1]
                        sf -= column[1, k - rz - 1]
                        sw -= column[2, k - rz - 1]
                        sff -= column[3, k - rz - 1]
                        sww -= column[4, k - rz - 1]
                        sfw -= column[5, k - rz - 1]
                    m = mask[i, j, k]
                    if m <= zero or n <= zero:
                        a[i, j, k] = zero
                        b[i, j, k] = zero
                        c[i, j, k] = zero
                        continue
                    mf, mw = sf / n, sw / n
                    cov = sfw - mf * sw
                    vf = max(sff - mf * sf, zero) + floor * n
                    vw = max(sww - mw * sw, zero) + floor * n
                    ratio = cov / (vf * vw)
                    score += m * cov * ratio
                    weight += m
                    first = 2 * ratio * m
                    second = first * cov / vw
                    a[i, j, k] = first
                    b[i, j, k] = second
                    c[i, j, k] = first * mf - second * mw
        value[chunk, 0] = score
        value[chunk, 1] = weight


@loop
def spread(fixed, warped, mask, a, b, c, radius, scale, chunks, out):
    """Gradient of the sum of m·cc with respect to the warped image, times `scale`."""
    X, Y, Z = fixed.shape
    rx, ry, rz = radius
    zero = fixed.dtype.type(0)
    one = fixed.dtype.type(1)
    size = (X + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(X, (chunk + 1) * size)
        sums = np.zeros((3, Y, Z), fixed.dtype)
        column = np.zeros((3, Z), fixed.dtype)
        for plane in range(max(0, begin - rx), end + rx):
            for sign in range(2):
                p = plane if sign == 0 else plane - 2 * rx - 1
                if p < max(0, begin - rx) or p >= X:
                    continue
                s = one if sign == 0 else -one
                for j in range(Y):
                    for k in range(Z):
                        sums[0, j, k] += s * a[p, j, k]
                        sums[1, j, k] += s * b[p, j, k]
                        sums[2, j, k] += s * c[p, j, k]
            i = plane - rx
            if i < begin or i >= end:
                continue
            column[:] = zero
            for j in range(-ry, Y):
                slide(sums, j, ry, column)
                if j < 0:
                    continue
                sa = sb = sc = zero
                for k in range(min(rz, Z)):
                    sa += column[0, k]
                    sb += column[1, k]
                    sc += column[2, k]
                for k in range(Z):
                    if k + rz < Z:
                        sa += column[0, k + rz]
                        sb += column[1, k + rz]
                        sc += column[2, k + rz]
                    if k - rz - 1 >= 0:
                        sa -= column[0, k - rz - 1]
                        sb -= column[1, k - rz - 1]
                        sc -= column[2, k - rz - 1]
                    out[i, j, k] = (
                        scale * mask[i, j, k] * (fixed[i, j, k] * sa - warped[i, j, k] * sb - sc)
                    )

"""Compiled local correlation: windows slide along the first two axes, sums never recomputed.

Windows shrink at the border. Sums over the first axis are kept a plane at a time and sums over the
second a row at a time; along the third a window is summed anew. Every loop is over one row and
writes one array, which is what the compiler needs to work on many voxels at once.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def slide(sums, j, radius, edge, column):
    """Move the sums over rows j - radius ... j + radius one row on; `column` has empty edges."""
    Z = sums.shape[2]
    for q in range(sums.shape[0]):
        line = column[q, edge : edge + Z]
        if j + radius < sums.shape[1]:
            row = sums[q, j + radius]
            for k in range(Z):
                line[k] += row[k]
        if j - radius - 1 >= 0:
            row = sums[q, j - radius - 1]
            for k in range(Z):
                line[k] -= row[k]


@inline
def windowed(column, radius, out):
    """Sums over 2 radius + 1 neighbours along a row with `radius` empty entries on both sides."""
    Z = out.size
    if radius >= 2:
        a, b, c, d, e = column[:Z], column[1:], column[2:], column[3:], column[4:]
        for k in range(Z):
            out[k] = a[k] + b[k] + c[k] + d[k] + e[k]
    elif radius == 1:
        a, b, c = column[:Z], column[1:], column[2:]
        for k in range(Z):
            out[k] = a[k] + b[k] + c[k]
    else:
        out[:] = column
    for t in range(5, 2 * radius + 1, 2):
        a, b = column[t:], column[t + 1 :]
        for k in range(Z):
            out[k] += a[k] + b[k]


@inline
def enter(sums, fixed, warped, mask, p, j, sign):
    """Add (or, with the other sign, remove) one row to the six sums over planes."""
    f, w, m = fixed[p, j], warped[p, j], mask[p, j]
    n, sf, sw = sums[0, j], sums[1, j], sums[2, j]
    sff, sww, sfw = sums[3, j], sums[4, j], sums[5, j]
    for k in range(n.size):
        n[k] += sign * m[k]
    for k in range(n.size):
        sf[k] += sign * m[k] * f[k]
    for k in range(n.size):
        sw[k] += sign * m[k] * w[k]
    for k in range(n.size):
        sff[k] += sign * m[k] * f[k] * f[k]
    for k in range(n.size):
        sww[k] += sign * m[k] * w[k] * w[k]
    for k in range(n.size):
        sfw[k] += sign * m[k] * f[k] * w[k]


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
    tiny = fixed.dtype.type(1e-6)
    size = (X + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(X, (chunk + 1) * size)
        sums = np.zeros((6, Y, Z), fixed.dtype)
        column = np.empty((6, Z + 2 * rz), fixed.dtype)
        window = np.empty((6, Z), fixed.dtype)
        score = 0.0
        weight = 0.0
        for plane in range(max(0, begin - rx), end + rx):
            gone = plane - 2 * rx - 1
            for j in range(Y):
                if plane < X:
                    enter(sums, fixed, warped, mask, plane, j, one)
                if gone >= max(0, begin - rx):
                    enter(sums, fixed, warped, mask, gone, j, -one)
            i = plane - rx
            if i < begin or i >= end:
                continue
            column[:] = zero
            for j in range(-ry, Y):
                slide(sums, j, ry, rz, column)
                if j < 0:
                    continue
                for q in range(6):
                    windowed(column[q], rz, window[q])
                n, sf, sw, sff, sww, sfw = window
                m, first, second, third = mask[i, j], a[i, j], b[i, j], c[i, j]
                # the window's own rows become what is needed next, one array at a time
                for k in range(Z):
                    sf[k] /= max(n[k], tiny)
                for k in range(Z):
                    sfw[k] -= sf[k] * sw[k]
                for k in range(Z):
                    sww[k] = max(sww[k] - sw[k] * sw[k] / max(n[k], tiny), zero) + floor * n[k]
                for k in range(Z):
                    spread = max(sff[k] - sf[k] * sf[k] * n[k], zero) + floor * n[k]
                    known = (m[k] > zero) & (n[k] > tiny)
                    first[k] = sfw[k] * m[k] / max(spread * sww[k], tiny * tiny) if known else zero
                part = zero
                for k in range(Z):
                    part += first[k] * sfw[k]
                score += np.float64(part)
                part = zero
                for k in range(Z):
                    part += m[k] if n[k] > tiny else zero
                weight += np.float64(part)
                for k in range(Z):
                    first[k] *= 2
                for k in range(Z):
                    second[k] = first[k] * sfw[k] / sww[k] if first[k] != zero else zero
                for k in range(Z):
                    third[k] = first[k] * sf[k] - second[k] * sw[k] / max(n[k], tiny)
        value[chunk, 0] = score
        value[chunk, 1] = weight


@loop
def spread(fixed, warped, mask, a, b, c, radius, scale, chunks, out):
    """Gradient of the sum of m·cc with respect to the warped image, times `scale`."""
    X, Y, Z = fixed.shape
    rx, ry, rz = radius
    zero = fixed.dtype.type(0)
    size = (X + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(X, (chunk + 1) * size)
        sums = np.zeros((3, Y, Z), fixed.dtype)
        column = np.empty((3, Z + 2 * rz), fixed.dtype)
        window = np.empty((3, Z), fixed.dtype)
        for plane in range(max(0, begin - rx), end + rx):
            gone = plane - 2 * rx - 1
            for j in range(Y):
                for q, field in enumerate((a, b, c)):
                    line = sums[q, j]
                    if plane < X:
                        row = field[plane, j]
                        for k in range(Z):
                            line[k] += row[k]
                    if gone >= max(0, begin - rx):
                        row = field[gone, j]
                        for k in range(Z):
                            line[k] -= row[k]
            i = plane - rx
            if i < begin or i >= end:
                continue
            column[:] = zero
            for j in range(-ry, Y):
                slide(sums, j, ry, rz, column)
                if j < 0:
                    continue
                for q in range(3):
                    windowed(column[q], rz, window[q])
                sa, sb, sc = window
                f, w, m, line = fixed[i, j], warped[i, j], mask[i, j], out[i, j]
                for k in range(Z):
                    line[k] = scale * m[k] * (f[k] * sa[k] - w[k] * sb[k] - sc[k])

"""Compiled local correlation: windows slide along the first two axes, sums never recomputed.

A volume is cut into slabs of strips of rows, small enough for their sums to stay in the cache. Sums
over the first axis are kept for a whole strip and sums over the second for a row; along the third
a window is summed anew. Rows are worked on in blocks, every loop over a block writes one array, and
blocks run past the ends of rows into spare room: so all of it is done on many voxels at once.

Nothing is computed where it is known to be zero: outside the spans of a row, see `spans`.

A window at the border is cut off, so windows differ in size, and the sum over windows is not its
own adjoint by symmetry of the weights. It is by symmetry of the relation: x lies in the window of
y just when y lies in that of x, also at the border. So `spread` sums the same boxes of a, b and c
that `correlate` sums of the images; what depends on the size of a window is inside a, b and c.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop
from coincide.kernels.spans.loops import rows_of

BLOCK = 64  # voxels of a row worked on together


@inline
def task(number, shape, radius, slabs, strip):
    """Planes begin ... end and rows first ... last of a task, and rows base ... top it reads."""
    X, Y, _ = shape
    strips = (Y + strip - 1) // strip
    slab = number // strips
    size = (X + slabs - 1) // slabs
    begin, end = min(X, slab * size), min(X, (slab + 1) * size)
    first = (number - slab * strips) * strip
    last = min(Y, first + strip)
    return begin, end, first, last, max(first - radius[1], 0), min(last + radius[1], Y)


@inline
def part_of(plane, number, shape, radius, slabs, strip, spans):
    """Of a plane's voxels, first to last, what the windows of a task see; and where its rows begin.

    Nothing for a plane outside the volume, or that no window of the task reaches.
    """
    begin, end, first, last, base, top = task(number, shape, radius, slabs, strip)
    rx, ry, _ = radius
    low, high = 0, 0
    if max(0, begin - rx) <= plane < shape[0]:
        near = (max(begin, plane - rx), min(end, plane + rx + 1))
        low, high = rows_of(spans, near, first, last)
        low, high = max(low - ry, base), min(high + ry, top)
    width = shape[2]
    return low * width, high * width, base * width


@inline
def enter(sums, f, w, m, sign):
    """Add (or, with the other sign, remove) voxels to the six sums over planes."""
    n, sf, sw, sff, sww, sfw = sums
    for k in range(f.size):
        n[k] += sign * m[k]
    for k in range(f.size):
        sf[k] += sign * m[k] * f[k]
    for k in range(f.size):
        sw[k] += sign * m[k] * w[k]
    for k in range(f.size):
        sff[k] += sign * m[k] * f[k] * f[k]
    for k in range(f.size):
        sww[k] += sign * m[k] * w[k] * w[k]
    for k in range(f.size):
        sfw[k] += sign * m[k] * f[k] * w[k]


@inline
def change(line, row, sign):
    """Add or remove a row."""
    for k in range(line.size):
        line[k] += sign * row[k]


@inline
def slide(sums, j, radius, rows, width, column, edge):
    """Move the sums over rows j - radius ... j + radius one row on; `rows` are those there are."""
    if rows[0] <= j + radius < rows[1]:
        start = (j + radius - rows[2]) * width
        for q in range(sums.shape[0]):
            change(column[q, edge : edge + width], sums[q, start : start + width], 1)
    if j - radius - 1 >= rows[0]:
        start = (j - radius - 1 - rows[2]) * width
        for q in range(sums.shape[0]):
            change(column[q, edge : edge + width], sums[q, start : start + width], -1)


@inline
def windowed(column, radius, out):
    """Sums over 2 radius + 1 entries from each on."""
    # five at a time, then two: fewer passes over `out` than one voxel at a time
    if radius >= 2:
        a, b, c, d, e = column, column[1:], column[2:], column[3:], column[4:]
        for k in range(out.size):
            out[k] = a[k] + b[k] + c[k] + d[k] + e[k]
    elif radius == 1:
        a, b, c = column, column[1:], column[2:]
        for k in range(out.size):
            out[k] = a[k] + b[k] + c[k]
    else:
        for k in range(out.size):
            out[k] = column[k]
    for t in range(5, 2 * radius + 1, 2):
        a, b = column[t:], column[t + 1 :]
        for k in range(out.size):
            out[k] += a[k] + b[k]


@loop
def correlate(fixed, warped, mask, radius, floor, spans, slabs, strip, value, a, b, c):
    """Squared correlation and the three fields that its gradient is made of.

    For the window about x with n weights, covariance A and variances B and C (floored),
    cc = A² / (B C); a = 2 A m / (B C), b = 2 A² m / (B C²), c = a·mean_F - b·mean_W, with m the
    weight of x; all zero outside `spans`, where windows of the fixed image are flat. `value`
    receives, for each task, the sums of m·cc and of m.
    """
    shape = fixed.shape
    X, Y, Z = shape
    rx, ry, rz = radius
    zero, one = fixed.dtype.type(0), fixed.dtype.type(1)
    # keeps 1 / n finite in an empty window, whose sums are all zero
    tiny = fixed.dtype.type(1e-6)
    F, W, M = fixed.reshape(X, Y * Z), warped.reshape(X, Y * Z), mask.reshape(X, Y * Z)
    A, B, C = a.reshape(X, Y * Z), b.reshape(X, Y * Z), c.reshape(X, Y * Z)
    for number in prange(value.shape[0]):
        begin, end, first, last, base, top = task(number, shape, radius, slabs, strip)
        sums = np.zeros((6, (top - base) * Z), fixed.dtype)
        # zeros stand for what lies beyond a row, and for what its last block reads past it
        column = np.zeros((6, Z + 2 * rz + BLOCK), fixed.dtype)
        window = np.zeros((8, BLOCK), fixed.dtype)
        score = 0.0
        weight = 0.0
        # planes before the first are only added up; those past the end of the volume only leave
        for plane in range(max(0, begin - rx), end + rx):
            for p, sign in ((plane, one), (plane - 2 * rx - 1, -one)):  # one enters, one leaves
                s, t, o = part_of(p, number, shape, radius, slabs, strip, spans)
                if s < t:
                    enter(sums[:, s - o : t - o], F[p, s:t], W[p, s:t], M[p, s:t], sign)
            i = plane - rx
            if i < begin or i >= end:
                continue
            s, t = first * Z, last * Z
            A[i, s:t], B[i, s:t], C[i, s:t] = zero, zero, zero
            part = zero
            for k in range(s, t):
                part += M[i, k]
            weight += np.float64(part)
            low, high = rows_of(spans, (i, i + 1), first, last)
            rows = (max(low - ry, base), min(high + ry, top), base)
            column[:] = zero
            # sums over rows start from nothing: filled up before the first row counts
            for j in range(low - 2 * ry, high):
                slide(sums, j, ry, rows, Z, column, rz)
                if j < low:
                    continue
                for k in range(spans[i, j, 0], spans[i, j, 1], BLOCK):
                    for q in range(6):
                        windowed(column[q, k : k + BLOCK + 2 * rz], rz, window[q])
                    n, sf, sw, sff, sww, sfw, x, y = window
                    # the window's own sums become what is needed next, one array at a time
                    for v in range(BLOCK):
                        n[v] = one / max(n[v], tiny)
                    for v in range(BLOCK):
                        sff[v] = max(sff[v] - sf[v] * sf[v] * n[v], zero) * n[v] + floor
                    for v in range(BLOCK):
                        sww[v] = max(sww[v] - sw[v] * sw[v] * n[v], zero) * n[v] + floor
                    for v in range(BLOCK):
                        sfw[v] = (sfw[v] - sf[v] * sw[v] * n[v]) * n[v]
                    for v in range(BLOCK):
                        x[v] = sfw[v] / (sff[v] * sww[v])
                    for v in range(BLOCK):
                        y[v] = 2 * x[v] * x[v] * sff[v] * n[v]
                    count = min(BLOCK, spans[i, j, 1] - k)
                    m = mask[i, j, k : k + count]
                    part = zero
                    for v in range(count):
                        # without a floor an empty window gives 0 / 0, and 0 · NaN is NaN
                        part += m[v] * x[v] * sfw[v] if m[v] > zero else zero
                    score += np.float64(part)
                    for v in range(BLOCK):
                        x[v] *= 2 * n[v]
                    line = a[i, j, k : k + count]
                    for v in range(count):
                        line[v] = m[v] * x[v] if m[v] > zero else zero
                    line = b[i, j, k : k + count]
                    for v in range(count):
                        line[v] = m[v] * y[v] if m[v] > zero else zero
                    line = c[i, j, k : k + count]
                    for v in range(count):
                        mean = n[v] * (x[v] * sf[v] - y[v] * sw[v])
                        line[v] = m[v] * mean if m[v] > zero else zero
        value[number, 0] = score
        value[number, 1] = weight


@loop
def spread(fixed, warped, mask, a, b, c, radius, scale, spans, slabs, strip, tasks, out):
    """Gradient of the sum of m·cc with respect to the warped image, times `scale`.

    `spans` are where windows meet those of `correlate`; the gradient is zero elsewhere.
    """
    shape = fixed.shape
    X, Y, Z = shape
    rx, ry, rz = radius
    zero, one = fixed.dtype.type(0), fixed.dtype.type(1)
    A, B, C = a.reshape(X, Y * Z), b.reshape(X, Y * Z), c.reshape(X, Y * Z)
    for number in prange(tasks):
        begin, end, first, last, base, top = task(number, shape, radius, slabs, strip)
        sums = np.zeros((3, (top - base) * Z), fixed.dtype)
        column = np.zeros((3, Z + 2 * rz + BLOCK), fixed.dtype)
        window = np.zeros((3, BLOCK), fixed.dtype)
        for plane in range(max(0, begin - rx), end + rx):
            for p, sign in ((plane, one), (plane - 2 * rx - 1, -one)):
                s, t, o = part_of(p, number, shape, radius, slabs, strip, spans)
                if s < t:
                    change(sums[0, s - o : t - o], A[p, s:t], sign)
                    change(sums[1, s - o : t - o], B[p, s:t], sign)
                    change(sums[2, s - o : t - o], C[p, s:t], sign)
            i = plane - rx
            if i < begin or i >= end:
                continue
            out[i, first:last] = zero
            low, high = rows_of(spans, (i, i + 1), first, last)
            rows = (max(low - ry, base), min(high + ry, top), base)
            column[:] = zero
            for j in range(low - 2 * ry, high):
                slide(sums, j, ry, rows, Z, column, rz)
                if j < low:
                    continue
                for k in range(spans[i, j, 0], spans[i, j, 1], BLOCK):
                    for q in range(3):
                        windowed(column[q, k : k + BLOCK + 2 * rz], rz, window[q])
                    sa, sb, sc = window
                    count = min(BLOCK, spans[i, j, 1] - k)
                    f, w = fixed[i, j, k : k + count], warped[i, j, k : k + count]
                    m, line = mask[i, j, k : k + count], out[i, j, k : k + count]
                    for v in range(count):
                        line[v] = scale * m[v] * (f[v] * sa[v] - w[v] * sb[v] - sc[v])

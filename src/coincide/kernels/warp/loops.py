"""Compiled loops that sample a volume at displaced voxels, and their gradients.

Each row of voxels is done in two passes over short arrays, first the addresses and fractions, then
the values: the first vectorises, and the second keeps the gathers apart from the arithmetic.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop

# Pieces of work, each with arrays of its own for a row: many more than threads, since rows with a
# short span are done soon and their thread would wait; few enough that the arrays cost nothing.
CHUNKS = 128


@inline
def strides(X, Y, Z):
    """Offsets to the next voxel along each axis; none along an axis of one voxel.

    Where addresses are used they are unsigned: a signed index may be negative, which counts from
    the end, and to look at its sign at every gather costs more than the gather. Offsets of nothing
    make the far corners of a cell the near ones, so that a thin volume needs no code of its own.
    """
    return (
        np.uint64(Y * Z if X > 1 else 0),
        np.uint64(Z if Y > 1 else 0),
        np.uint64(1 if Z > 1 else 0),
    )


@inline
def locate(i, j, low, field, index, scale, size, keep, address, fraction, free, weight, known):
    """For a row from `low` on: addresses of lower corners, fractions, weights, what is inside.

    `address` counts voxels of the flattened volume; `fraction` and `free` (0 where a position is
    held at the border and does not follow the displacement) are (3, K).
    """
    f = index.dtype.type
    half = f(0.5)
    X, Y, Z = size
    mx, my, mz = f(X - 1), f(Y - 1), f(Z - 1)
    # in loops of their own, so that a displacement of zero does not change a bit
    for axis in range(3):
        start = index[axis, 0] * f(i) + index[axis, 1] * f(j) + index[axis, 3]
        line, along = fraction[axis], index[axis, 2]
        for k in range(address.size):
            # most machines convert only 32-bit counters many at once
            line[k] = start + along * f(np.int32(k + low))
    s00, s01, s02 = scale[0, 0], scale[0, 1], scale[0, 2]
    s10, s11, s12 = scale[1, 0], scale[1, 1], scale[1, 2]
    s20, s21, s22 = scale[2, 0], scale[2, 1], scale[2, 2]
    row_x, row_y, row_z = field[0, i, j, low:], field[1, i, j, low:], field[2, i, j, low:]
    for k in range(address.size):
        u, v, w = row_x[k], row_y[k], row_z[k]
        x = fraction[0, k] + s00 * u + s01 * v + s02 * w
        y = fraction[1, k] + s10 * u + s11 * v + s12 * w
        z = fraction[2, k] + s20 * u + s21 * v + s22 * w
        # comparisons are written so that one with NaN ends inside the volume: an address made of
        # it would lie anywhere in memory
        cx = min(x, mx) if x > f(0) else f(0)
        cy = min(y, my) if y > f(0) else f(0)
        cz = min(z, mz) if z > f(0) else f(0)
        # half a voxel beyond the outermost centres still counts as inside
        near = (abs(x - cx) <= half) & (abs(y - cy) <= half) & (abs(z - cz) <= half)
        known[k] = f(1) if near else f(0)
        weight[k] = f(1) if near else keep
        # the last voxel is the far end of the last cell; 0 where there is but one voxel
        ix = np.int32(max(min(cx, mx - f(1)), f(0)))
        iy = np.int32(max(min(cy, my - f(1)), f(0)))
        iz = np.int32(max(min(cz, mz - f(1)), f(0)))
        fraction[0, k], fraction[1, k], fraction[2, k] = cx - f(ix), cy - f(iy), cz - f(iz)
        # NaN equals nothing, so that it moves nothing either
        free[0, k] = f(1) if x == cx else f(0)
        free[1, k] = f(1) if y == cy else f(0)
        free[2, k] = f(1) if z == cz else f(0)
        # 32 bits count two thousand million voxels, and twice as many are worked on at once
        address[k] = (ix * np.int32(Y) + iy) * np.int32(Z) + iz


@loop
def warp(volume, field, index, scale, keep, spans, out, valid):
    """Sample within the spans of rows; elsewhere values are zero, and taken to be inside."""
    channels, X, Y, Z = volume.shape
    _, I, J, K = out.shape
    flat = volume.reshape(channels, X * Y * Z)
    sx, sy, sz = strides(X, Y, Z)
    size = (X, Y, Z)
    zero, one = volume.dtype.type(0), volume.dtype.type(1)
    chunks = min(I * J, CHUNKS)
    for chunk in prange(chunks):
        addresses = np.empty(K, np.int32)
        fractions = np.empty((3, K), volume.dtype)
        weights = np.empty(K, volume.dtype)
        free = np.empty((3, K), volume.dtype)
        for row in range(chunk * I * J // chunks, (chunk + 1) * I * J // chunks):
            i = row // J
            j = row - i * J
            low, count = spans[i, j, 0], spans[i, j, 1] - spans[i, j, 0]
            address, fraction, weight = addresses[:count], fractions[:, :count], weights[:count]
            valid[i, j] = one
            known = valid[i, j, low : low + count]
            locate(
                i, j, low, field, index, scale, size, keep, address, fraction, free, weight, known
            )
            for c in range(channels):
                out[c, i, j] = zero
                v, line = flat[c], out[c, i, j, low : low + count]
                for k in range(count):
                    # unsigned: see `strides`
                    p = np.uint64(address[k])
                    fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
                    a = v[p] + fz * (v[p + sz] - v[p])
                    b = v[p + sy] + fz * (v[p + sy + sz] - v[p + sy])
                    d = v[p + sx] + fz * (v[p + sx + sz] - v[p + sx])
                    e = v[p + sx + sy] + fz * (v[p + sx + sy + sz] - v[p + sx + sy])
                    a += fy * (b - a)
                    d += fy * (e - d)
                    line[k] = weight[k] * (a + fx * (d - a))


@inline
def slopes(volume, grad, i, j, low, step, address, fraction, free, weight, total):
    """For a row from `low` on: weight · sum_c grad_c ∂volume_c/∂index, into `total` (3, K)."""
    sx, sy, sz = step
    total[:] = 0
    for c in range(volume.shape[0]):
        q, g = volume[c], grad[c, i, j, low:]
        for k in range(address.size):
            p = np.uint64(address[k])
            fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
            a, b, d, e = q[p], q[p + sy], q[p + sx], q[p + sx + sy]
            # differences along the last axis first, as the slope and the values both need them
            r, s = q[p + sz] - a, q[p + sy + sz] - b
            t, w = q[p + sx + sz] - d, q[p + sx + sy + sz] - e
            z = r + fy * (s - r)
            z += fx * (t + fy * (w - t) - z)
            a, b, d, e = a + fz * r, b + fz * s, d + fz * t, e + fz * w
            b, e = b - a, e - d
            y = b + fx * (e - b)
            x = d + fy * e - (a + fy * b)
            total[0, k] += g[k] * x
            total[1, k] += g[k] * y
            total[2, k] += g[k] * z
    for axis in range(3):
        line, loose = total[axis], free[axis]
        for k in range(address.size):
            line[k] *= loose[k] * weight[k]


@loop
def field_gradient(volume, field, index, scale, keep, grad, turn, spans, out):
    """Gradient with respect to the displacement: out = turn · slopes, zero outside the spans."""
    channels, X, Y, Z = volume.shape
    _, I, J, K = grad.shape
    flat = volume.reshape(channels, X * Y * Z)
    step = strides(X, Y, Z)
    size = (X, Y, Z)
    chunks = min(I * J, CHUNKS)
    for chunk in prange(chunks):
        addresses = np.empty(K, np.int32)
        fractions = np.empty((3, K), volume.dtype)
        weights = np.empty(K, volume.dtype)
        inside = np.empty(K, volume.dtype)
        loose = np.empty((3, K), volume.dtype)
        totals = np.empty((3, K), volume.dtype)
        for row in range(chunk * I * J // chunks, (chunk + 1) * I * J // chunks):
            i = row // J
            j = row - i * J
            low, count = spans[i, j, 0], spans[i, j, 1] - spans[i, j, 0]
            address, fraction, weight = addresses[:count], fractions[:, :count], weights[:count]
            known, free, total = inside[:count], loose[:, :count], totals[:, :count]
            locate(
                i, j, low, field, index, scale, size, keep, address, fraction, free, weight, known
            )
            slopes(flat, grad, i, j, low, step, address, fraction, free, weight, total)
            for axis in range(3):
                out[axis, i, j] = 0
                line = out[axis, i, j, low : low + count]
                for k in range(count):
                    line[k] = (
                        turn[axis, 0] * total[0, k]
                        + turn[axis, 1] * total[1, k]
                        + turn[axis, 2] * total[2, k]
                    )


@loop
def index_gradient(volume, field, index, keep, grad, out):
    """Gradient with respect to `index`: one (3, 4) for each row of voxels, to be summed.

    Summed outside, in the order of the rows, so that the result does not depend on the threads.
    """
    channels, X, Y, Z = volume.shape
    _, I, J, K = grad.shape
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
        total = np.empty((3, K), volume.dtype)
        size = (X, Y, Z)
        locate(i, j, 0, field, index, index, size, keep, address, fraction, free, weight, known)
        slopes(flat, grad, i, j, 0, step, address, fraction, free, weight, total)
        for axis in range(3):
            # i and j are the same along a row, so that only k has to be summed with the slopes
            first, second = volume.dtype.type(0), volume.dtype.type(0)
            for k in range(K):
                first += total[axis, k]
                second += total[axis, k] * volume.dtype.type(np.int32(k))
            out[row, axis, 0] = first * i
            out[row, axis, 1] = first * j
            out[row, axis, 2] = second
            out[row, axis, 3] = first


@loop
def volume_gradient(grad, field, index, scale, keep, out):
    """Gradient with respect to the volume: every value is spread on the voxels it came from.

    Parallel over channels alone: two rows may meet in one voxel, and threads that add to it at once
    would lose additions, or make sums depend on who came first.
    """
    channels, I, J, K = grad.shape
    _, X, Y, Z = out.shape
    flat = out.reshape(channels, X * Y * Z)
    sx, sy, sz = strides(X, Y, Z)
    for c in prange(channels):
        v = flat[c]
        address = np.empty(K, np.int32)
        fraction = np.empty((3, K), grad.dtype)
        weight = np.empty(K, grad.dtype)
        known = np.empty(K, grad.dtype)
        free = np.empty((3, K), grad.dtype)
        size = (X, Y, Z)
        for row in range(I * J):
            i = row // J
            j = row - i * J
            locate(i, j, 0, field, index, scale, size, keep, address, fraction, free, weight, known)
            for k in range(K):
                p = np.uint64(address[k])
                g = weight[k] * grad[c, i, j, k]
                fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
                ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
                # the weights by which `warp` reads the eight voxels
                v[p] += g * ex * ey * ez
                v[p + sz] += g * ex * ey * fz
                v[p + sy] += g * ex * fy * ez
                v[p + sy + sz] += g * ex * fy * fz
                v[p + sx] += g * fx * ey * ez
                v[p + sx + sz] += g * fx * ey * fz
                v[p + sx + sy] += g * fx * fy * ez
                v[p + sx + sy + sz] += g * fx * fy * fz

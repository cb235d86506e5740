"""Compiled loops that sample a volume at displaced voxels, and their gradients.

Each row of voxels is done in two passes over short arrays, first the addresses and fractions, then
the values: the first vectorises, and the second keeps the gathers apart from the arithmetic.
"""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop

CHUNKS = 128  # pieces of work, each with arrays of its own for a row


@inline
def strides(X, Y, Z):
    """Offsets to the next voxel along each axis; none along an axis of one voxel."""
    return (
        np.int32(Y * Z) if X > 1 else np.int32(0),
        np.int32(Z) if Y > 1 else np.int32(0),
        np.int32(1) if Z > 1 else np.int32(0),
    )


@inline
def locate(i, j, field, index, scale, size, keep, address, fraction, free, weight, known):
    """For one row: addresses of lower corners, fractions, weight (0 outside), and what is inside.

    `address` counts voxels of the flattened volume; `fraction` and `free` (0 where a position is
    held at the border and does not follow the displacement) are (3, K).
    """
    f = index.dtype.type
    half = f(0.5)
    X, Y, Z = size
    mx, my, mz = f(X - 1), f(Y - 1), f(Z - 1)
    x0 = index[0, 0] * f(i) + index[0, 1] * f(j) + index[0, 3]
    y0 = index[1, 0] * f(i) + index[1, 1] * f(j) + index[1, 3]
    z0 = index[2, 0] * f(i) + index[2, 1] * f(j) + index[2, 3]
    dx, dy, dz = index[0, 2], index[1, 2], index[2, 2]
    s00, s01, s02 = scale[0, 0], scale[0, 1], scale[0, 2]
    s10, s11, s12 = scale[1, 0], scale[1, 1], scale[1, 2]
    s20, s21, s22 = scale[2, 0], scale[2, 1], scale[2, 2]
    row_x, row_y, row_z = field[0, i, j], field[1, i, j], field[2, i, j]
    for k in range(address.size):
        step = f(np.int32(k))
        u, v, w = row_x[k], row_y[k], row_z[k]
        x = x0 + dx * step + s00 * u + s01 * v + s02 * w
        y = y0 + dy * step + s10 * u + s11 * v + s12 * w
        z = z0 + dz * step + s20 * u + s21 * v + s22 * w
        # comparisons are written so that one with NaN ends inside the volume
        cx = min(x, mx) if x > f(0) else f(0)
        cy = min(y, my) if y > f(0) else f(0)
        cz = min(z, mz) if z > f(0) else f(0)
        # half a voxel beyond the outermost centres still counts as inside
        near = (abs(x - cx) <= half) & (abs(y - cy) <= half) & (abs(z - cz) <= half)
        known[k] = f(1) if near else f(0)
        weight[k] = f(1) if near else keep
        ix = np.int32(max(min(cx, mx - f(1)), f(0)))
        iy = np.int32(max(min(cy, my - f(1)), f(0)))
        iz = np.int32(max(min(cz, mz - f(1)), f(0)))
        fraction[0, k], fraction[1, k], fraction[2, k] = cx - f(ix), cy - f(iy), cz - f(iz)
        free[0, k] = f(1) if x == cx else f(0)
        free[1, k] = f(1) if y == cy else f(0)
        free[2, k] = f(1) if z == cz else f(0)
        address[k] = (ix * np.int32(Y) + iy) * np.int32(Z) + iz


@loop
def warp(volume, field, index, scale, keep, spans, out, valid):
    """Sample at every voxel; values outside the spans of a row are not wanted and zero."""
    channels, X, Y, Z = volume.shape
    _, I, J, K = out.shape
    flat = volume.reshape(channels, X * Y * Z)
    sx, sy, sz = strides(X, Y, Z)
    size = (X, Y, Z)
    chunks = min(I * J, CHUNKS)
    for chunk in prange(chunks):
        address = np.empty(K, np.int32)
        fraction = np.empty((3, K), volume.dtype)
        weight = np.empty(K, volume.dtype)
        free = np.empty((3, K), volume.dtype)
        for row in range(chunk * I * J // chunks, (chunk + 1) * I * J // chunks):
            i = row // J
            j = row - i * J
            known = valid[i, j]
            locate(i, j, field, index, scale, size, keep, address, fraction, free, weight, known)
            for c in range(channels):
                v, line = flat[c], out[c, i, j]
                line[:] = 0
                for k in range(spans[i, j, 0], spans[i, j, 1]):
                    p = address[k]
                    fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
                    a = v[p] + fz * (v[p + sz] - v[p])
                    b = v[p + sy] + fz * (v[p + sy + sz] - v[p + sy])
                    d = v[p + sx] + fz * (v[p + sx + sz] - v[p + sx])
                    e = v[p + sx + sy] + fz * (v[p + sx + sy + sz] - v[p + sx + sy])
                    a += fy * (b - a)
                    d += fy * (e - d)
                    line[k] = weight[k] * (a + fx * (d - a))


@inline
def slopes(volume, grad, i, j, span, step, address, fraction, free, weight, total):
    """For one row: weight · sum_c grad_c ∂volume_c/∂index, into `total` (3, K)."""
    sx, sy, sz = step
    total[:] = 0
    for c in range(volume.shape[0]):
        q, g = volume[c], grad[c, i, j]
        for k in range(span[0], span[1]):
            p = address[k]
            fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
            ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
            a, b, d, e = q[p], q[p + sz], q[p + sy], q[p + sy + sz]
            h = p + sx
            r, s, t, w = q[h], q[h + sz], q[h + sy], q[h + sy + sz]
            x = ey * (ez * (r - a) + fz * (s - b)) + fy * (ez * (t - d) + fz * (w - e))
            y = ex * (ez * (d - a) + fz * (e - b)) + fx * (ez * (t - r) + fz * (w - s))
            z = ex * (ey * (b - a) + fy * (e - d)) + fx * (ey * (s - r) + fy * (w - t))
            total[0, k] += g[k] * free[0, k] * weight[k] * x
            total[1, k] += g[k] * free[1, k] * weight[k] * y
            total[2, k] += g[k] * free[2, k] * weight[k] * z


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
        address = np.empty(K, np.int32)
        fraction = np.empty((3, K), volume.dtype)
        weight = np.empty(K, volume.dtype)
        known = np.empty(K, volume.dtype)
        free = np.empty((3, K), volume.dtype)
        total = np.empty((3, K), volume.dtype)
        for row in range(chunk * I * J // chunks, (chunk + 1) * I * J // chunks):
            i = row // J
            j = row - i * J
            low, high = spans[i, j]
            if low < high:
                locate(
                    i, j, field, index, scale, size, keep, address, fraction, free, weight, known
                )
            slopes(flat, grad, i, j, (low, high), step, address, fraction, free, weight, total)
            for axis in range(3):
                line = out[axis, i, j]
                for k in range(K):
                    line[k] = (
                        turn[axis, 0] * total[0, k]
                        + turn[axis, 1] * total[1, k]
                        + turn[axis, 2] * total[2, k]
                    )


@loop
def index_gradient(volume, field, index, keep, grad, out):
    """Gradient with respect to `index`: one (3, 4) for each row of voxels, to be summed."""
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
        locate(i, j, field, index, index, size, keep, address, fraction, free, weight, known)
        slopes(flat, grad, i, j, (0, K), step, address, fraction, free, weight, total)
        for axis in range(3):
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
    """Gradient with respect to the volume: every value is spread on the voxels it came from."""
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
            locate(i, j, field, index, scale, size, keep, address, fraction, free, weight, known)
            for k in range(K):
                p = address[k]
                g = weight[k] * grad[c, i, j, k]
                fx, fy, fz = fraction[0, k], fraction[1, k], fraction[2, k]
                ex, ey, ez = 1 - fx, 1 - fy, 1 - fz
                v[p] += g * ex * ey * ez
                v[p + sz] += g * ex * ey * fz
                v[p + sy] += g * ex * fy * ez
                v[p + sy + sz] += g * ex * fy * fz
                v[p + sx] += g * fx * ey * ez
                v[p + sx + sz] += g * fx * ey * fz
                v[p + sx + sy] += g * fx * fy * ez
                v[p + sx + sy + sz] += g * fx * fy * fz

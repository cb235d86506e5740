"""Compiled loops for the interpolations that need no gradient: nearest, label vote, cubic."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def position(index, scale, field, i, j, k):
    """Where voxel (i, j, k) looks, in voxels of the volume."""
    u, v, w = field[0, i, j, k], field[1, i, j, k], field[2, i, j, k]
    x = index[0, 0] * i + index[0, 1] * j + index[0, 2] * k + index[0, 3]
    y = index[1, 0] * i + index[1, 1] * j + index[1, 2] * k + index[1, 3]
    z = index[2, 0] * i + index[2, 1] * j + index[2, 2] * k + index[2, 3]
    x += scale[0, 0] * u + scale[0, 1] * v + scale[0, 2] * w
    y += scale[1, 0] * u + scale[1, 1] * v + scale[1, 2] * w
    z += scale[2, 0] * u + scale[2, 1] * v + scale[2, 2] * w
    return x, y, z


@inline
def inside(x, n):
    """Whether a position lies in the cell of some voxel."""
    return x >= -0.5 and x <= n - 0.5


@inline
def cell(x, n):
    """Lower neighbour, upper neighbour and fraction of a position held inside the volume.

    The last voxel is the far end of the last cell, as in `warp`: the value is the same as at the
    near end of one beyond, which does not exist, but not its derivative.
    """
    # NaN fails the comparison and becomes 0, which is an address
    held = min(x, n - 1.0) if x > 0 else 0.0
    low = min(int(held), max(n - 2, 0))
    return low, min(low + 1, n - 1), held - low


@loop
def nearest(volume, field, index, scale, out):
    channels, X, Y, Z = volume.shape
    _, I, J, K = out.shape
    for row in prange(I * J):
        i = row // J
        j = row - i * J
        for k in range(K):
            x, y, z = position(index, scale, field, i, j, k)
            if inside(x, X) and inside(y, Y) and inside(z, Z):
                # halves go up everywhere, and n - 0.5, which is inside, would round to n
                a = min(max(int(np.floor(x + 0.5)), 0), X - 1)
                b = min(max(int(np.floor(y + 0.5)), 0), Y - 1)
                c = min(max(int(np.floor(z + 0.5)), 0), Z - 1)
                for channel in range(channels):
                    out[channel, i, j, k] = volume[channel, a, b, c]


@loop
def vote(volume, field, index, scale, out):
    """The value whose linear weights among the eight neighbours sum to the most."""
    channels, X, Y, Z = volume.shape
    _, I, J, K = out.shape
    for row in prange(I * J):
        i = row // J
        j = row - i * J
        values = np.empty(8, volume.dtype)
        weights = np.empty(8, np.float64)
        for k in range(K):
            x, y, z = position(index, scale, field, i, j, k)
            if not (inside(x, X) and inside(y, Y) and inside(z, Z)):
                continue
            x1, x2, fx = cell(x, X)
            y1, y2, fy = cell(y, Y)
            z1, z2, fz = cell(z, Z)
            for channel in range(channels):
                v = volume[channel]
                count = 0
                for corner in range(8):
                    a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
                    value = v[x2 if a else x1, y2 if b else y1, z2 if c else z1]
                    weight = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
                    known = False
                    # at most eight values: a look through all of them is the fastest table
                    for n in range(count):
                        if values[n] == value:
                            weights[n] += weight
                            known = True
                    if not known:
                        values[count] = value
                        weights[count] = weight
                        count += 1
                best = 0
                for n in range(1, count):
                    # of equal weights the first keeps, so that the answer is always the same
                    if weights[n] > weights[best]:
                        best = n
                out[channel, i, j, k] = values[best]


@inline
def basis(f, weights):
    """The four cubic B-spline weights at fraction f of a cell."""
    g = 1 - f
    weights[0] = g * g * g / 6
    weights[1] = 2.0 / 3 - f * f * (2 - f) / 2
    weights[2] = 2.0 / 3 - g * g * (2 - g) / 2
    weights[3] = f * f * f / 6


@inline
def mirrored(p, n):
    """Index p reflected about the outermost centres of n voxels."""
    if n == 1:
        return 0
    period = 2 * n - 2
    p = abs(p) % period
    return period - p if p >= n else p


POLE = np.float32(3**0.5 - 2)  # of the filter whose inverse samples a cubic B-spline
REACH = 16  # voxels after which the pole's power is below single precision


@inline
def start(lines, n):
    """First causal coefficient of (n, K) values mirrored about the outermost, into row 0."""
    for k in range(lines.shape[1]):
        # the mirrored signal goes on without end; REACH terms say as much as single precision can
        total, power = lines[0, k], POLE
        for p in range(1, REACH):
            total += power * lines[mirrored(p, n), k]
            power *= POLE
        lines[0, k] = total


@inline
def recursive(lines):
    """The filter along the first axis of (n, K), in place."""
    n, size = lines.shape
    # gain (1 - z)(1 - 1/z) = 6 of the filter, and the factor of its first anticausal value (Unser)
    six, edge = np.float32(6), POLE / (POLE * POLE - np.float32(1))
    start(lines, n)
    for p in range(1, n):
        for k in range(size):
            lines[p, k] += POLE * lines[p - 1, k]
    for k in range(size):
        lines[n - 1, k] = edge * (POLE * lines[n - 2, k] + lines[n - 1, k])
    for p in range(n - 2, -1, -1):
        for k in range(size):
            lines[p, k] = POLE * (lines[p + 1, k] - lines[p, k])
    for p in range(n):
        for k in range(size):
            lines[p, k] *= six


@loop
def prefilter(volume):
    """Cubic B-spline coefficients of (C, X, Y, Z), mirrored about the outermost voxels, in place.

    References:
        Unser (1999), doi:10.1109/79.799930.
    """
    channels, X, Y, Z = volume.shape
    for row in prange(channels * X):
        plane = volume[row // X, row % X]
        if Z > 1:
            # turned, so that the recursion runs down and each of its steps is one long loop
            turned = plane.T.copy()
            recursive(turned)
            plane[:] = turned.T
        if Y > 1:
            recursive(plane)
    if X > 1:
        for row in prange(channels * Y):
            # a copy, because planes lie so far apart that each step would fetch new memory
            lines = volume[row // Y, :, row % Y].copy()
            recursive(lines)
            volume[row // Y, :, row % Y] = lines


@inline
def around(p, n, indices):
    """The four voxels about the cell that begins at p."""
    # within the volume, where nearly all cells are, nothing needs to be reflected
    if 1 <= p < n - 2:
        for t in range(4):
            indices[t] = p + t - 1
    else:
        for t in range(4):
            indices[t] = mirrored(p + t - 1, n)


@loop
def cubic(coefficients, field, index, scale, out):
    channels, X, Y, Z = coefficients.shape
    _, I, J, K = out.shape
    for row in prange(I * J):
        i = row // J
        j = row - i * J
        wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
        ix, iy, iz = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
        for k in range(K):
            x, y, z = position(index, scale, field, i, j, k)
            if not (inside(x, X) and inside(y, Y) and inside(z, Z)):
                continue
            x1, _, fx = cell(x, X)
            y1, _, fy = cell(y, Y)
            z1, _, fz = cell(z, Z)
            basis(fx, wx)
            basis(fy, wy)
            basis(fz, wz)
            around(x1, X, ix)
            around(y1, Y, iy)
            around(z1, Z, iz)
            for channel in range(channels):
                v = coefficients[channel]
                total = 0.0
                for a in range(4):
                    plane = 0.0
                    for b in range(4):
                        line = v[ix[a], iy[b]]
                        plane += wy[b] * (
                            wz[0] * line[iz[0]]
                            + wz[1] * line[iz[1]]
                            + wz[2] * line[iz[2]]
                            + wz[3] * line[iz[3]]
                        )
                    total += wx[a] * plane
                out[channel, i, j, k] = total

"""Compiled inversion of a displacement, voxel by voxel, without temporaries."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def pick(field, x, y, z, out):
    """Linear sample of three components at a position in voxels, border continued."""
    _, X, Y, Z = field.shape
    f = field.dtype.type
    # NaN fails the comparison and becomes 0, as this is about to be an address
    cx = min(x, f(X - 1)) if x > f(0) else f(0)
    cy = min(y, f(Y - 1)) if y > f(0) else f(0)
    cz = min(z, f(Z - 1)) if z > f(0) else f(0)
    a, b, c = int(cx), int(cy), int(cz)
    d, e, g = min(a + 1, X - 1), min(b + 1, Y - 1), min(c + 1, Z - 1)
    fx, fy, fz = cx - f(a), cy - f(b), cz - f(c)
    for n in range(3):
        v = field[n]
        p = v[a, b, c] + fz * (v[a, b, g] - v[a, b, c])
        q = v[a, e, c] + fz * (v[a, e, g] - v[a, e, c])
        r = v[d, b, c] + fz * (v[d, b, g] - v[d, b, c])
        s = v[d, e, c] + fz * (v[d, e, g] - v[d, e, c])
        p += fy * (q - p)
        r += fy * (s - r)
        out[n] = p + fx * (r - p)


@loop
def invert(field, steps, tolerance, out, residual):
    """Solve w = -u(y + w) at every voxel y; everything in voxels.

    Each voxel starts from its neighbour's answer; where a step hardly brings it nearer, the next
    ones are shorter.
    `residual` receives the length of w + u(y + w).
    """
    _, X, Y, Z = field.shape
    f = field.dtype.type
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        there = np.empty(3, field.dtype)
        # what the inverse would be if the field were constant
        wx, wy, wz = -field[0, i, j, 0], -field[1, i, j, 0], -field[2, i, j, 0]
        for k in range(Z):
            # larger than any residual: the first step is never found too short
            last = f(1e30)
            share = f(1)
            size = f(0)
            for _ in range(steps):
                pick(field, f(i) + wx, f(j) + wy, f(k) + wz, there)
                ex, ey, ez = wx + there[0], wy + there[1], wz + there[2]
                size = ex * ex + ey * ey + ez * ez
                if size < tolerance * tolerance:
                    break
                # where the field is steep a whole step overshoots; a tenth still gets on
                if size > f(0.9) * last:
                    share = max(share * f(0.6), f(0.1))
                last = size
                wx -= share * ex
                wy -= share * ey
                wz -= share * ez
            out[0, i, j, k], out[1, i, j, k], out[2, i, j, k] = wx, wy, wz
            residual[i, j, k] = np.sqrt(size)

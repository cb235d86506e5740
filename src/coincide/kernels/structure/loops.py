"""Compiled self-similarity of features: row by row, squeezed before it leaves the cache."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def differing(rows, out, mean):
    """Twelve m of one channel and dilation, out (12, Z), and their mean (Z,), from six rows."""
    Z = out.shape[1]
    f = out.dtype.type
    pair = 0
    for a in range(6):
        for b in range(a + 1, 6):
            if a // 2 != b // 2:
                one, two, d = rows[a], rows[b], out[pair]
                for k in range(Z):
                    d[k] = (one[k] - two[k]) * (one[k] - two[k])
                pair += 1
    least = out[0].copy()
    mean[:] = 0
    for p in range(12):
        d = out[p]
        for k in range(Z):
            least[k] = min(least[k], d[k])
    for p in range(12):
        d = out[p]
        for k in range(Z):
            d[k] -= least[k]
            mean[k] += d[k] * f(1 / 12)


@inline
def decayed(row, factor):
    """In place: exp(-32 row factor), the 32nd power of a series.

    No m is more than twelve times the mean, or of C L times as many pairs C L times that; what is
    below -24 is as good as nothing, so seven terms are exact to single precision.
    """
    f = row.dtype.type
    for k in range(row.size):
        y = max(row[k] * factor[k], f(-24 / 32))
        e = f(1) + y * f(1 / 7)
        e = f(1) + y * e * f(1 / 6)
        e = f(1) + y * e * f(1 / 5)
        e = f(1) + y * e * f(1 / 4)
        e = f(1) + y * e * f(1 / 3)
        e = f(1) + y * e * f(1 / 2)
        e = f(1) + y * e
        e *= e
        e *= e
        e *= e
        e *= e
        row[k] = e * e


@inline
def described(wide, i, j, floors, dilations, margin, shared, mean, out):
    """All similarities of a row, out (C L 12, Z), from features with a continued border.

    `mean` (C L + 1, Z) is room to work in.
    """
    C = wide.shape[0]
    L = dilations.size
    Z = out.shape[1]
    f = out.dtype.type
    x, y, z = i + margin, j + margin, margin
    whole = mean[C * L]
    whole[:] = 0
    for c in range(C):
        for n in range(L):
            d = dilations[n]
            rows = (
                wide[c, x - d, y, z : z + Z],
                wide[c, x + d, y, z : z + Z],
                wide[c, x, y - d, z : z + Z],
                wide[c, x, y + d, z : z + Z],
                wide[c, x, y, z - d : z - d + Z],
                wide[c, x, y, z + d : z + d + Z],
            )
            g = c * L + n
            differing(rows, out[12 * g : 12 * (g + 1)], mean[g])
            for k in range(Z):
                whole[k] += mean[g, k] / f(C * L)
    for g in range(C * L):
        own = mean[g]
        for k in range(Z):
            spread = whole[k] if shared else own[k]
            own[k] = f(-1 / 32) / (spread + floors[g // L])
        for p in range(12 * g, 12 * (g + 1)):
            decayed(out[p], own)


@loop
def self_similarity(wide, floors, dilations, margin, shared, out):
    """Out (C L 12, X, Y, Z) from features (C, X + 2 margin, …)."""
    channels, X, Y, Z = out.shape
    for i in prange(X):
        row = np.empty((channels, Z), out.dtype)
        mean = np.empty((channels // 12 + 1, Z), out.dtype)
        for j in range(Y):
            described(wide, i, j, floors, dilations, margin, shared, mean, row)
            out[:, i, j] = row


@inline
def mapped(weight, bias, given, made):
    """Made (H, Z) = weight (H, N) given (N, Z) + bias (H,), four rows of `given` at a time."""
    H, N = weight.shape
    Z = given.shape[1]
    for h in range(H):
        into = made[h]
        for k in range(Z):
            into[k] = bias[h]
        for n in range(0, N, 4):
            a, b, c, d = weight[h, n], weight[h, n + 1], weight[h, n + 2], weight[h, n + 3]
            p, q, r, s = given[n], given[n + 1], given[n + 2], given[n + 3]
            for k in range(Z):
                into[k] += a * p[k] + b * q[k] + c * r[k] + d * s[k]


@loop
def structure(
    wide, floors, dilations, margin, shared, first, first_bias, second, second_bias, slope, out
):
    """Out (O, X, Y, Z): the similarities squeezed by two linear maps, to vectors of length 1.

    The numbers of hidden units and of similarities are multiples of four.
    """
    O, X, Y, Z = out.shape
    f = out.dtype.type
    for i in prange(X):
        row = np.empty((first.shape[1], Z), out.dtype)
        hidden = np.empty((first.shape[0], Z), out.dtype)
        few = np.empty((O, Z), out.dtype)
        mean = np.empty((first.shape[1] // 12 + 1, Z), out.dtype)
        for j in range(Y):
            described(wide, i, j, floors, dilations, margin, shared, mean, row)
            mapped(first, first_bias, row, hidden)
            for h in range(hidden.shape[0]):
                line = hidden[h]
                for k in range(Z):
                    line[k] = max(line[k], slope * line[k])
            mapped(second, second_bias, hidden, few)
            size = np.zeros(Z, out.dtype)
            for o in range(O):
                line = few[o]
                for k in range(Z):
                    size[k] += line[k] * line[k]
            for k in range(Z):
                size[k] = f(1) / max(np.sqrt(size[k]), f(1e-12))
            for o in range(O):
                line, into = few[o], out[o, i, j]
                for k in range(Z):
                    into[k] = line[k] * size[k]

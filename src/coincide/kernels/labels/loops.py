"""Compiled overlap of label maps under a displacement: no indicator image is ever made.

A moved map says of a place how much of each label lies there: the linear weights of the eight
voxels around it. Their sums, alone and where the fixed map has the same label, are all that Dice
coefficients need, so that a hundred labels cost what one costs.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import loop
from coincide.kernels.interpolate.loops import cell, inside, position


@loop
def tally(fixed, moving, field, index, scale, mask, partial):
    """Add to `partial` (I, 3, labels + 1) weights of fixed, moved and common voxels of each label.

    Maps hold numbers of labels; what does not count has the last one.
    """
    I, J, K = fixed.shape
    X, Y, Z = moving.shape
    for i in prange(I):
        sums = partial[i]
        for j in range(J):
            for k in range(K):
                m = np.float64(mask[i, j, k])
                x, y, z = position(index, scale, field, i, j, k)
                if m <= 0 or not (inside(x, X) and inside(y, Y) and inside(z, Z)):
                    continue
                label = fixed[i, j, k]
                sums[0, label] += m
                x1, x2, fx = cell(x, X)
                y1, y2, fy = cell(y, Y)
                z1, z2, fz = cell(z, Z)
                for corner in range(8):
                    a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
                    other = moving[x2 if a else x1, y2 if b else y1, z2 if c else z1]
                    weight = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
                    # what is no label has a column of its own, cut off later: cheaper than to ask
                    sums[1, other] += m * weight
                    if other == label:
                        sums[2, other] += m * weight


@loop
def gather(fixed, moving, field, index, scale, mask, table, out):
    """Gradient with respect to the displacement of sum(table · sums); table is (3, labels + 1)."""
    I, J, K = fixed.shape
    X, Y, Z = moving.shape
    for i in prange(I):
        for j in range(J):
            for k in range(K):
                m = np.float64(mask[i, j, k])
                x, y, z = position(index, scale, field, i, j, k)
                if m <= 0 or not (inside(x, X) and inside(y, Y) and inside(z, Z)):
                    out[0, i, j, k] = 0
                    out[1, i, j, k] = 0
                    out[2, i, j, k] = 0
                    continue
                label = fixed[i, j, k]
                x1, x2, fx = cell(x, X)
                y1, y2, fy = cell(y, Y)
                z1, z2, fz = cell(z, Z)
                dx = dy = dz = 0.0
                for corner in range(8):
                    a, b, c = corner & 1, (corner >> 1) & 1, corner >> 2
                    other = moving[x2 if a else x1, y2 if b else y1, z2 if c else z1]
                    # row 0, the fixed map's own weights, does not move with the displacement
                    value = table[1, other]
                    if other == label:
                        value += table[2, other]
                    wx = fx if a else 1 - fx
                    wy = fy if b else 1 - fy
                    wz = fz if c else 1 - fz
                    dx += (value if a else -value) * wy * wz
                    dy += (value if b else -value) * wx * wz
                    dz += (value if c else -value) * wx * wy
                # a position held at the border does not follow the displacement
                dx = m * dx if x >= 0 and x <= X - 1 else 0.0
                dy = m * dy if y >= 0 and y <= Y - 1 else 0.0
                dz = m * dz if z >= 0 and z <= Z - 1 else 0.0
                for axis in range(3):
                    out[axis, i, j, k] = (
                        scale[0, axis] * dx + scale[1, axis] * dy + scale[2, axis] * dz
                    )

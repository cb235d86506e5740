"""Compiled search for blocks of one image in another.

The surroundings of a block are copied once. All offsets along the two last axes are then done in
one long run over that copy, of which the few that wrap around its rows are not looked at.
"""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def centred(fixed, start, size, block):
    """Copy a block, less its mean, in order; returns the sum of its squares."""
    sx, sy, sz = size
    mean = np.float32(0)
    for i in range(sx):
        for j in range(sy):
            for k in range(sz):
                v = fixed[start[0] + i, start[1] + j, start[2] + k]
                block[(i * sy + j) * sz + k] = v
                mean += v
    mean /= np.float32(block.size)
    spread = np.float32(0)
    for p in range(block.size):
        block[p] -= mean
        spread += block[p] * block[p]
    return spread


@inline
def surroundings(warped, known, start, size, reach, values, squares, sure):
    """Copy what lies about a block, less its mean; nothing is known beyond the image."""
    X, Y, Z = warped.shape
    wide = (size[0] + 2 * reach[0], size[1] + 2 * reach[1], size[2] + 2 * reach[2])
    values[:] = np.float32(0)
    squares[:] = np.float32(0)
    sure[:] = np.float32(0)
    # never zero: where nothing is known, the mean is 0 and every score becomes -1
    mean, mass = np.float32(0), np.float32(1e-12)
    # the mean comes off before anything is squared, since in float32 large squares would cancel
    for turn in range(2):
        for i in range(wide[0]):
            for j in range(wide[1]):
                x, y = start[0] - reach[0] + i, start[1] - reach[1] + j
                if x < 0 or x >= X or y < 0 or y >= Y:
                    continue
                for k in range(wide[2]):
                    z = start[2] - reach[2] + k
                    if z < 0 or z >= Z:
                        continue
                    if turn == 0:
                        mean += known[x, y, z] * warped[x, y, z]
                        mass += known[x, y, z]
                    else:
                        p = (i * wide[1] + j) * wide[2] + k
                        v = warped[x, y, z] - mean
                        values[p], squares[p], sure[p] = v, v * v, known[x, y, z]
        if turn == 0:
            mean /= mass


@loop
def match(fixed, warped, known, starts, size, reach, scores):
    """|NCC| of every block of `fixed` at every offset into `warped`; -1 where that is not known.

    `starts` (N, 3) are the first voxels of the blocks, `scores` (N, 2r+1, 2r+1, 2r+1). A place
    of `warped` counts where every voxel of the block is `known`.
    """
    sx, sy, sz = size
    rx, ry, rz = reach
    voxels = sx * sy * sz
    count = np.float32(voxels)
    # compared with a product of two sums of squares, each the count times a variance
    small = np.float32(1e-10) * count * count
    wide_y, wide_z = sy + 2 * ry, sz + 2 * rz
    copied = (sx + 2 * rx) * wide_y * wide_z
    run = 2 * ry * wide_z + 2 * rz + 1  # from the first to the last offset along two axes
    for n in prange(starts.shape[0]):
        block = np.empty(voxels, np.float32)
        values = np.empty(copied, np.float32)
        squares = np.empty(copied, np.float32)
        sure = np.empty(copied, np.float32)
        cross = np.empty(run, np.float32)
        # sums over two axes of a block; those along the third are taken at the end
        total = np.empty(run + sz - 1, np.float32)
        square = np.empty(run + sz - 1, np.float32)
        seen = np.empty(run + sz - 1, np.float32)
        spread = centred(fixed, starts[n], size, block)
        surroundings(warped, known, starts[n], size, reach, values, squares, sure)
        for a in range(2 * rx + 1):
            cross[:] = np.float32(0)
            total[:] = np.float32(0)
            square[:] = np.float32(0)
            seen[:] = np.float32(0)
            for i in range(sx):
                for j in range(sy):
                    base = ((a + i) * wide_y + j) * wide_z
                    v, q, s = values[base:], squares[base:], sure[base:]
                    for c in range(run + sz - 1):
                        total[c] += v[c]
                        square[c] += q[c]
                        seen[c] += s[c]
                    for k in range(sz):
                        f = block[(i * sy + j) * sz + k]
                        v = values[base + k :]
                        for c in range(run):
                            cross[c] += f * v[c]
            for b in range(2 * ry + 1):
                for e in range(2 * rz + 1):
                    c = b * wide_z + e
                    mass, energy, inside = np.float32(0), np.float32(0), np.float32(0)
                    for k in range(c, c + sz):
                        mass += total[k]
                        energy += square[k]
                        inside += seen[k]
                    power = spread * (energy - mass * mass / count)
                    # whatever its sign: another modality may show dark what is bright here
                    score = abs(cross[c]) / np.sqrt(power) if power > small else np.float32(0)
                    # known as a whole or not: the sum of ones is compared as floats are
                    scores[n, a, b, e] = score if inside > count - 0.5 else np.float32(-1)

"""Compiled radial sums at the voxels of a grid, and the adjoint; a row of voxels at a time."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def kernels(affine, i, j, centre, even, values):
    """For one row: r² log r where `even`, else -r, at the distance r from a centre."""
    x = affine[0, 0] * i + affine[0, 1] * j + affine[0, 3] - centre[0]
    y = affine[1, 0] * i + affine[1, 1] * j + affine[1, 3] - centre[1]
    z = affine[2, 0] * i + affine[2, 1] * j + affine[2, 3] - centre[2]
    dx, dy, dz = affine[0, 2], affine[1, 2], affine[2, 2]
    for k in range(values.size):
        # most machines convert only 32-bit counters many at once
        step = np.float64(np.int32(k))
        u, v, w = x + dx * step, y + dy * step, z + dz * step
        values[k] = u * u + v * v + w * w
    if even:
        for k in range(values.size):
            # of the square q it is q log(q) / 2, without a root; at a centre 0, not 0 · -inf
            values[k] = 0.5 * values[k] * np.log(max(values[k], 1e-24))
    else:
        for k in range(values.size):
            values[k] = -np.sqrt(values[k])


@loop
def spread(affine, centres, weights, even, out):
    """out[c, i, j, k] = sum over centres of weight[n, c] · kernel at affine · voxel."""
    channels, I, J, K = out.shape
    for row in prange(I * J):
        i = row // J
        j = row - i * J
        values = np.empty(K)
        for c in range(channels):
            out[c, i, j] = 0
        for n in range(len(centres)):
            kernels(affine, i, j, centres[n], even, values)
            for c in range(channels):
                line, weight = out[c, i, j], weights[n, c]
                for k in range(K):
                    line[k] += weight * values[k]


@loop
def gather(affine, centres, grad, even, out):
    """out[i, n, c] = sum over the voxels of a plane of grad · kernel, to be summed over planes.

    A plane has sums of its own, added in order, so that they do not depend on the threads.
    """
    channels, I, J, K = grad.shape
    for i in prange(I):
        values = np.empty(K)
        for j in range(J):
            for n in range(len(centres)):
                kernels(affine, i, j, centres[n], even, values)
                for c in range(channels):
                    line, total = grad[c, i, j], 0.0
                    for k in range(K):
                        total += line[k] * values[k]
                    out[i, n, c] += total

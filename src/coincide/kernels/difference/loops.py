"""Compiled squared difference: value and gradient, or value and force, in one pass."""

import numpy as np
from numba import prange

from coincide.kernels.compile import loop
from coincide.kernels.update.loops import descend, turn


@loop
def squared(fixed, warped, mask, scale, partial, gradient):
    """partial[chunk] = sum of m (W - F)², gradient = scale · m (W - F); volumes are (C, voxels).

    Sums are in single precision over 4096 voxels, which vectorises and loses nothing that shows,
    and in double precision over those. What is summed is not written to in the same loop: the
    compiler would then look where the arrays lie in memory, and add in another order where one
    lies before another.
    """
    channels, voxels = fixed.shape
    chunks = partial.size
    size = (voxels + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(voxels, (chunk + 1) * size)
        total = 0.0
        for c in range(channels):
            f, w, g = fixed[c], warped[c], gradient[c]
            for start in range(begin, end, 4096):
                part = fixed.dtype.type(0)
                stop = min(start + 4096, end)
                for p in range(start, stop):
                    d = w[p] - f[p]
                    part += mask[p] * d * d
                # these voxels are still in the cache
                for p in range(start, stop):
                    g[p] = scale * (mask[p] * (w[p] - f[p]))
                total += np.float64(part)
        partial[chunk] = total


@loop
def squared_force(fixed, warped, mask, scale, metric, partial, out):
    """partial[row] = m (W - F)², out = -metric · scale Σ_c m (W_c - F_c) ∇W_c.

    Volumes are (C, X, Y, Z); central differences, border continued, as in `update.loops.force`.
    """
    channels, X, Y, Z = warped.shape
    # `descend` leaves out the half of a central difference; it comes in with the scale
    zero, half = warped.dtype.type(0), warped.dtype.type(0.5) * scale
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        force = np.zeros((3, Z), warped.dtype)
        gradient = np.empty(Z, warped.dtype)
        m = mask[i, j]
        total = 0.0
        for c in range(channels):
            w, f = warped[c, i, j], fixed[c, i, j]
            for k in range(Z):
                gradient[k] = m[k] * (w[k] - f[k])
            part = zero
            for k in range(Z):
                part += gradient[k] * (w[k] - f[k])
            total += np.float64(part)
            descend(gradient, warped[c], i, j, force)
        partial[row] = total
        turn(force, metric, half, i, j, out)

"""Compiled choice among candidates: the best for each node, and how clear the choice is."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def vertex(before, here, after):
    """Where the parabola through three equally spaced values is least, within half a step."""
    bend = before - 2 * here + after
    # a line or a hill has no lowest point; bend * 0 is a zero of the type of the costs
    if bend <= 0:
        return bend * 0
    return min(max((before - after) / (2 * bend), -0.5), 0.5)


@loop
def best(volume, place, length, drawn, force, out):
    """The shift of least cost + force · |shift - goal|² at every node, finer than the steps.

    `volume` (N, LX, LY, LZ); `place` (L, 3) shifts in steps; `length` (L,) their squared lengths;
    `drawn` (N, 3) metric · goal; out (N, 3) in steps.
    """
    N, LX, LY, LZ = volume.shape
    L = LX * LY * LZ
    for n in prange(N):
        total = np.empty(L, volume.dtype)
        row = volume[n].reshape(L)
        gx, gy, gz = 2 * drawn[n, 0], 2 * drawn[n, 1], 2 * drawn[n, 2]
        least = np.inf
        where = 0
        for k in range(L):
            d = place[k]
            # |shift - goal|² without |goal|², which is the same for all shifts of a node
            total[k] = row[k] + force * (length[k] - gx * d[0] - gy * d[1] - gz * d[2])
        # apart from the loop above, which vectorises only without the comparison
        for k in range(L):
            if total[k] < least:
                least = total[k]
                where = k
        stride = LY * LZ
        for axis in range(3):
            count = LX if axis == 0 else LY if axis == 1 else LZ
            at = (where // stride) % count
            out[n, axis] = place[where, axis]
            # at the end of the reach there is no neighbour on one side, and no parabola
            if 0 < at < count - 1:
                low, high = total[where - stride], total[where + stride]
                out[n, axis] += vertex(low, total[where], high)
            stride //= LY if axis == 0 else LZ if axis == 1 else 1


@loop
def spread(volume, place, length, metric, temperature, out):
    """Variance, in the squared unit of the metric, of shifts weighted by exp(-cost/temperature).

    `volume` (N, L), `place` (L, 3), `length` (L,) the squared lengths of the places.
    """
    N, L = volume.shape
    for n in prange(N):
        row = volume[n]
        least = row[0]
        for k in range(L):
            least = min(least, row[k])
        mass = x = y = z = square = 0.0
        for k in range(L):
            # relative to the least cost: nothing overflows, and one weight at least is 1
            w = np.exp((least - row[k]) / temperature)
            mass += w
            x += w * place[k, 0]
            y += w * place[k, 1]
            z += w * place[k, 2]
            square += w * length[k]
        x, y, z = x / mass, y / mass, z / mass
        across = metric[0, 1] * x * y + metric[0, 2] * x * z + metric[1, 2] * y * z
        along = metric[0, 0] * x * x + metric[1, 1] * y * y + metric[2, 2] * z * z
        # E|d|² - |E d|²: rounding may make it negative where one shift has all the weight
        out[n] = max(square / mass - along - 2 * across, 0.0)

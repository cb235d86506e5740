"""Compiled messages on a tree: what the neighbours of a node think of each of its shifts."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import inline, loop


@inline
def softened(source, stiffness, scratch, out):
    """out[d] = min over e of source[e] + sum of stiffness_a · (d_a - e_a)², for (LX, LY, LZ).

    One axis after the other, exactly. For the few shifts of an axis, trying them all in rows is
    faster than the lower envelope of parabolas; those that cost more than the range of the values
    can never win and are left out.
    """
    LX, LY, LZ = source.shape
    low = high = source[0, 0, 0]
    for p in range(LX):
        for q in range(LY):
            for v in source[p, q]:
                low = min(low, v)
                high = max(high, v)
    for p in range(LX):
        for q in range(LY):
            row, into = source[p, q], out[p, q]
            for r in range(LZ):
                into[r] = row[r]
            for t in range(1, LZ):
                cost = stiffness[2] * (t * t)
                if cost >= high - low:
                    break
                for r in range(LZ - t):
                    into[r] = min(into[r], row[r + t] + cost)
                for r in range(LZ - t):
                    into[r + t] = min(into[r + t], row[r] + cost)
    for p in range(LX):
        for q in range(LY):
            into = scratch[p, q]
            for r in range(LZ):
                into[r] = out[p, q, r]
            for e in range(LY):
                cost = stiffness[1] * ((e - q) * (e - q))
                if cost < high - low:
                    row = out[p, e]
                    for r in range(LZ):
                        into[r] = min(into[r], row[r] + cost)
    for p in range(LX):
        for q in range(LY):
            into = out[p, q]
            for r in range(LZ):
                into[r] = scratch[p, q, r]
            for e in range(LX):
                cost = stiffness[0] * ((e - p) * (e - p))
                if cost < high - low:
                    row = scratch[e, q]
                    for r in range(LZ):
                        into[r] = min(into[r], row[r] + cost)


@loop
def gather(volume, order, begin, end, first, stiffness):
    """Add to the nodes order[begin:end] the messages of their children, order[first[p]:first[p+1]].

    `volume` (N, LX, LY, LZ) then holds, at each of them, the cost of its whole branch.
    """
    _, LX, LY, LZ = volume.shape
    for p in prange(begin, end):
        if first[p + 1] > first[p]:
            scratch = np.empty((LX, LY, LZ), volume.dtype)
            message = np.empty((LX, LY, LZ), volume.dtype)
            into = volume[order[p]]
            for q in range(first[p], first[p + 1]):
                softened(volume[order[q]], stiffness, scratch, message)
                into += message


@loop
def scatter(volume, order, begin, end, parent, stiffness):
    """Add to the branches order[begin:end] the message of all that lies outside them.

    `volume` at `parent` is the cost of the whole tree; so it is at the branches afterwards.
    """
    _, LX, LY, LZ = volume.shape
    for p in prange(begin, end):
        scratch = np.empty((LX, LY, LZ), volume.dtype)
        message = np.empty((LX, LY, LZ), volume.dtype)
        rest = np.empty((LX, LY, LZ), volume.dtype)
        own, above = volume[order[p]], volume[parent[order[p]]]
        softened(own, stiffness, scratch, message)
        rest[:] = above - message
        softened(rest, stiffness, scratch, message)
        own += message
        own -= own.min()

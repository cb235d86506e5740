"""Compiled messages on a tree: what the neighbours of a node think of each of its shifts."""

import numpy as np
from numba import prange

from coincide.kernels.compile import called, loop


@called
def along(source, stiffness, limit, out):
    """out[j, d] = min over e of source[e, j] + stiffness · (d - e)²; the first axis comes last.

    For the few shifts of an axis, trying them all in rows is faster than the lower envelope of
    parabolas; a difference that costs more than `limit` can never win and is left out.
    """
    N, M = source.shape
    row = np.empty(M, source.dtype)
    for d in range(N):
        kept = source[d]
        for j in range(M):
            row[j] = kept[j]
        for e in range(N):
            cost = stiffness * ((d - e) * (d - e))
            if e != d and cost < limit:
                other = source[e]
                for j in range(M):
                    value = other[j] + cost
                    row[j] = value if value < row[j] else row[j]
        for j in range(M):
            out[j, d] = row[j]


@called
def softened(source, stiffness, scratch, out):
    """out[d] = min over e of source[e] + sum of stiffness_a · (d_a - e_a)², for (LX, LY, LZ).

    Exact, one axis after the other. `scratch` has as many values as `source`.
    """
    LX, LY, LZ = source.shape
    # no detour can save more than the whole range of costs
    limit = source.max() - source.min()
    # each turn moves its axis to the end, so that after three they are in order again
    along(source.reshape(LX, LY * LZ), stiffness[0], limit, out.reshape(LY * LZ, LX))
    along(out.reshape(LY, LZ * LX), stiffness[1], limit, scratch.reshape(LZ * LX, LY))
    along(scratch.reshape(LZ, LX * LY), stiffness[2], limit, out.reshape(LX * LY, LZ))


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
                # children were done before, and none has two parents: threads do not meet
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
        # the message is computed a second time: to keep all would double the memory
        softened(own, stiffness, scratch, message)
        # the whole tree as the parent sees it, less what this branch has told it
        rest[:] = above - message
        softened(rest, stiffness, scratch, message)
        own += message
        # only differences matter, and sums over a whole tree would use up the digits
        own -= own.min()

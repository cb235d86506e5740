"""Compiled self-similarity context: patch distances between pairs of shifted copies."""

import numpy as np
from numba import prange

from coincide.kernels.compile import inline, loop


@inline
def held(p, n):
    """Index p held inside n voxels."""
    return min(max(p, 0), n - 1)


@inline
def squared(a, b, first, second, total):
    """total[k] += (a[k + first] - b[k + second])², rows continued by their ends."""
    size = total.size
    low = min(max(0, -first, -second), size)
    high = max(size - max(0, first, second), low)
    p, q, t = a[low + first : high + first], b[low + second : high + second], total[low:high]
    for k in range(high - low):
        t[k] += (p[k] - q[k]) * (p[k] - q[k])
    for k in range(low):
        d = a[held(k + first, size)] - b[held(k + second, size)]
        total[k] += d * d
    for k in range(high, size):
        d = a[held(k + first, size)] - b[held(k + second, size)]
        total[k] += d * d


@inline
def along(line, radius, count, out):
    """Sums over 2 radius + 1 neighbours along a row continued by its ends, divided by `count`."""
    size = out.size
    for k in range(size):
        out[k] = line[k]
    for q in range(1, min(radius, size - 1) + 1):
        before, after = line[: size - q], line[q:]
        start, end = out[: size - q], out[q:]
        for k in range(size - q):
            start[k] += after[k]
        for k in range(size - q):
            end[k] += before[k]
        for k in range(q):
            out[k] += line[0]
            out[size - 1 - k] += line[size - 1]
    for _ in range(size, radius + 1):
        for k in range(size):
            out[k] += line[0] + line[size - 1]
    for k in range(size):
        out[k] /= count


@loop
def distances(volume, first, second, radius, out):
    """out[c] = mean over a (2r+1) box of (I(x + first_c) - I(x + second_c))², border continued.

    `first` and `second` are (C, 3) offsets in voxels, `radius` (3,).
    """
    X, Y, Z = volume.shape
    channels = out.shape[0]
    rx, ry, rz = radius[0], radius[1], radius[2]
    count = volume.dtype.type((2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1))
    for plane in prange(channels * X):
        c = plane // X
        i = plane - c * X
        ax, ay, az = first[c, 0], first[c, 1], first[c, 2]
        bx, by, bz = second[c, 0], second[c, 1], second[c, 2]
        summed = np.zeros((Y, Z), volume.dtype)
        line = np.empty(Z, volume.dtype)
        for q in range(-rx, rx + 1):
            centre = held(i + q, X)
            x1, x2 = held(centre + ax, X), held(centre + bx, X)
            for j in range(Y):
                a, b = volume[x1, held(j + ay, Y)], volume[x2, held(j + by, Y)]
                squared(a, b, az, bz, summed[j])
        for j in range(Y):
            row = out[c, i, j]
            for k in range(Z):
                line[k] = summed[j, k]
            for q in range(1, ry + 1):
                below, above = summed[held(j - q, Y)], summed[held(j + q, Y)]
                for k in range(Z):
                    line[k] += below[k] + above[k]
            along(line, rz, count, row)


@inline
def decay(row, least, spread):
    """In place: exp((least - x) / spread), the 64th power of a series, on many voxels at once."""
    f = row.dtype.type
    for k in range(row.size):
        # exp(-80) is nothing beside 1, and at most 1.25 is left, for which 12 terms are enough
        y = max((least[k] - row[k]) / spread[k], f(-80)) / f(64)
        e = f(1)
        for n in range(12, 0, -1):
            e = f(1) + e * y / f(n)
        for _ in range(6):
            e *= e
        row[k] = e


@loop
def descriptors(distance, low, high):
    """In place: exp(-(D - min D) / V) with V the channel mean held between `low` and `high`."""
    channels, X, Y, Z = distance.shape
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        least = distance[0, i, j].copy()
        spread = np.zeros(Z, distance.dtype)
        for c in range(channels):
            d = distance[c, i, j]
            for k in range(Z):
                least[k] = min(least[k], d[k])
            for k in range(Z):
                spread[k] += d[k]
        for k in range(Z):
            spread[k] = min(max(spread[k] / channels - least[k], low), high)
        for c in range(channels):
            decay(distance[c, i, j], least, spread)


@inline
def reach(i, offset, n):
    """Which of n places look at place i when they look at themselves + offset, held inside.

    From where to where: those beyond an end all look at the end.
    """
    low, high = i - offset, i - offset + 1
    if i == 0:
        low = 0
    if i == n - 1:
        high = n
    return min(max(low, 0), n), min(max(high, 0), n)


@loop
def unsummed(gradient, radius, out):
    """Adjoint of the mean over a box, border continued: out (C, X, Y, Z) from gradient, alike.

    Every place gathers from those whose box meets it, as `reach` says, for each offset of the box;
    so no two threads write to one place.
    """
    channels, X, Y, Z = gradient.shape
    rx, ry, rz = radius[0], radius[1], radius[2]
    share = gradient.dtype.type(1.0 / ((2 * rx + 1) * (2 * ry + 1) * (2 * rz + 1)))
    for plane in prange(channels * X):
        c = plane // X
        i = plane - c * X
        summed = np.zeros((Y, Z), gradient.dtype)
        rows = np.zeros((Y, Z), gradient.dtype)
        for q in range(-rx, rx + 1):
            first, last = reach(i, q, X)
            for p in range(first, last):
                summed += gradient[c, p]
        for j in range(Y):
            for q in range(-ry, ry + 1):
                line, into = summed[j], rows[held(j + q, Y)]
                for k in range(Z):
                    into[k] += line[k]
        for j in range(Y):
            line, into = rows[j], out[c, i, j]
            into[:] = 0
            for q in range(-rz, rz + 1):
                low, high = min(max(0, -q), Z), max(min(Z, Z - q), 0)
                for k in range(low, high):
                    into[k + q] += line[k]
                for k in range(low):
                    into[0] += line[k]
                for k in range(high, Z):
                    into[Z - 1] += line[k]
            for k in range(Z):
                into[k] *= share


@inline
def received(a, b, gradient, here, there, out):
    """Add to `out` what the squares (a[k + here] - b[k + there])² give back to a, rows held."""
    size = out.size
    low = min(max(0, -here, -there), size)
    high = max(size - max(0, here, there), low)
    p, q = a[low + here : high + here], b[low + there : high + there]
    g, into = gradient[low:high], out[low + here : high + here]
    for k in range(high - low):
        into[k] += 2 * g[k] * (p[k] - q[k])
    for k in range(low):
        m, n = held(k + here, size), held(k + there, size)
        out[m] += 2 * gradient[k] * (a[m] - b[n])
    for k in range(high, size):
        m, n = held(k + here, size), held(k + there, size)
        out[m] += 2 * gradient[k] * (a[m] - b[n])


@loop
def unshifted(volume, gradient, first, second, out):
    """Adjoint of the squared differences: out (X, Y, Z) from what each, (C, X, Y, Z), receives.

    A plane of `out` belongs to one thread, which looks up the planes whose differences read it.
    """
    channels, X, Y, _ = gradient.shape
    for i in prange(X):
        plane = out[i]
        plane[:] = 0
        for c in range(channels):
            for side in range(2):
                here, there = (first[c], second[c]) if side == 0 else (second[c], first[c])
                begin, end = reach(i, here[0], X)
                for p in range(begin, end):
                    other = volume[held(p + there[0], X)]
                    for j in range(Y):
                        g = gradient[c, p, j]
                        own, far = held(j + here[1], Y), held(j + there[1], Y)
                        received(volume[i, own], other[far], g, here[2], there[2], plane[own])


@loop
def undescribed(distance, gradient, low, high, rows):
    """Adjoint of `descriptors` at each voxel: in place, from `gradient` to that of the distances.

    V is the mean less the least distance, held between two limits; what the limits receive is
    summed in `rows` (X * Y, 2). Equal least distances share what the least one receives, as in
    torch.
    """
    channels, X, Y, Z = distance.shape
    f = distance.dtype.type
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        least = distance[0, i, j].copy()
        mean = np.zeros(Z, distance.dtype)
        spread = np.empty(Z, distance.dtype)
        size = np.empty(Z, distance.dtype)
        total = np.zeros(Z, distance.dtype)
        to_spread = np.zeros(Z, distance.dtype)
        equal = np.zeros(Z, distance.dtype)
        for c in range(channels):
            d = distance[c, i, j]
            for k in range(Z):
                least[k] = min(least[k], d[k])
            for k in range(Z):
                mean[k] += d[k]
        for k in range(Z):
            mean[k] = mean[k] / f(channels) - least[k]
            spread[k] = min(max(mean[k], low), high)
        for c in range(channels):
            d, g = distance[c, i, j], gradient[c, i, j]
            for k in range(Z):
                size[k] = d[k]
            decay(size, least, spread)
            for k in range(Z):
                t = g[k] * size[k] / spread[k]
                g[k] = -t
                total[k] += t
                to_spread[k] += t * (d[k] - least[k]) / spread[k]
                equal[k] += f(1) if d[k] == least[k] else f(0)
        to_low, to_high = 0.0, 0.0
        for k in range(Z):
            if mean[k] < low:
                # V is held at the limit: what it receives is the limit's
                to_low += np.float64(to_spread[k])
                to_spread[k] = f(0)
            elif mean[k] > high:
                to_high += np.float64(to_spread[k])
                to_spread[k] = f(0)
        rows[row, 0], rows[row, 1] = to_low, to_high
        for k in range(Z):
            # the least distance enters all exponents, and V with the other sign
            total[k] = (total[k] - to_spread[k]) / equal[k]
            to_spread[k] /= f(channels)
        for c in range(channels):
            d, g = distance[c, i, j], gradient[c, i, j]
            for k in range(Z):
                g[k] += to_spread[k] + (total[k] if d[k] == least[k] else f(0))


@loop
def unaveraged(distance, share, gradient):
    """Add to `gradient` what the mean over the volume of V gives back: `share` at each voxel."""
    channels, X, Y, Z = distance.shape
    f = distance.dtype.type
    part = share / f(channels)
    for row in prange(X * Y):
        i = row // Y
        j = row - i * Y
        least = distance[0, i, j].copy()
        equal = np.zeros(Z, distance.dtype)
        for c in range(channels):
            d = distance[c, i, j]
            for k in range(Z):
                least[k] = min(least[k], d[k])
        for c in range(channels):
            d = distance[c, i, j]
            for k in range(Z):
                equal[k] += f(1) if d[k] == least[k] else f(0)
        for c in range(channels):
            d, g = distance[c, i, j], gradient[c, i, j]
            for k in range(Z):
                g[k] += part - (share / equal[k] if d[k] == least[k] else f(0))

"""Compiled cost volumes: how well each cell of an image matches each candidate place of another."""

import numpy as np
from numba import prange

from coincide.kernels.compile import loop


@loop
def cost_volume(fixed, weight, unknown, moving, seen, cell, scale, out):
    """Sum of squared differences over each cell for each shift, times `scale`.

    `fixed` (C, X, Y, Z) is made of whole cells, `moving` (C, X + LX - 1, ...) is as much larger as
    the shifts need; out is (NX, NY, NZ, LX, LY, LZ). A voxel counts by `weight`; where the moving
    image is not `seen` it costs `unknown`. Working memory: one row of voxels for each shift along
    the last axis.
    """
    channels = fixed.shape[0]
    NX, NY, NZ, LX, LY, LZ = out.shape
    cx, cy, cz = cell[0], cell[1], cell[2]
    Z = NZ * cz
    # a column of cells belongs to one thread, so that no two write to one cost
    for line in prange(NX * NY):
        i = line // NY
        j = line - i * NY
        total = np.empty((LZ, Z), fixed.dtype)
        apart = np.empty((LZ, Z), fixed.dtype)
        for p in range(LX):
            for q in range(LY):
                total[:] = 0
                for a in range(cx * cy):
                    x = i * cx + a // cy
                    y = j * cy + a % cy
                    apart[:] = 0
                    for c in range(0, channels - 1, 2):  # two at once: half the memory traffic
                        f, g = fixed[c, x, y], fixed[c + 1, x, y]
                        for r in range(LZ):
                            m = moving[c, x + p, y + q, r : r + Z]
                            n = moving[c + 1, x + p, y + q, r : r + Z]
                            row = apart[r]
                            for k in range(Z):
                                d, e = f[k] - m[k], g[k] - n[k]
                                row[k] += d * d + e * e
                    if channels % 2:
                        f = fixed[channels - 1, x, y]
                        for r in range(LZ):
                            m = moving[channels - 1, x + p, y + q, r : r + Z]
                            row = apart[r]
                            for k in range(Z):
                                d = f[k] - m[k]
                                row[k] += d * d
                    w, u = weight[x, y], unknown[x, y]
                    for r in range(LZ):
                        s = seen[x + p, y + q, r : r + Z]
                        row, into = apart[r], total[r]
                        for k in range(Z):
                            # between the unknown and the difference, as far as the place is seen
                            into[k] += w[k] * (u[k] + s[k] * (row[k] - u[k]))
                # voxels of one cell along the last axis are added once, after all rows of the cell
                for h in range(NZ):
                    for r in range(LZ):
                        value = total[r, h * cz]
                        for k in range(h * cz + 1, h * cz + cz):
                            value += total[r, k]
                        out[i, j, h, p, q, r] = scale * value


@loop
def blur(volume, weights):
    """In place: filter (A, N, B, L) along its second axis, the border continued."""
    A, N, B, L = volume.shape
    reach = weights.size // 2
    for line in prange(A * B):
        a = line // B
        b = line - a * B
        # a copy of the line, whose values are overwritten while its neighbours still need them
        before = np.empty((N, L), volume.dtype)
        for n in range(N):
            row, kept = volume[a, n, b], before[n]
            for k in range(L):
                kept[k] = row[k]
        for n in range(N):
            row = volume[a, n, b]
            row[:] = 0
            for t in range(-reach, reach + 1):
                w, kept = weights[t + reach], before[min(max(n + t, 0), N - 1)]
                for k in range(L):
                    row[k] += w * kept[k]

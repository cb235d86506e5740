"""Compiled squared difference of two images: value and slope in one pass."""

import numpy as np
from numba import prange

from coincide.kernels.native.jit import loop


@loop
def squared(fixed, warped, mask, scale, partial, slope):
    """partial[chunk] += m (W - F)², slope = scale·2 m (W - F); volumes are (C, voxels)."""
    channels, voxels = fixed.shape
    chunks = partial.size
    size = (voxels + chunks - 1) // chunks
    for chunk in prange(chunks):
        begin, end = chunk * size, min(voxels, (chunk + 1) * size)
        total = 0.0
        for c in range(channels):
            f, w, s = fixed[c], warped[c], slope[c]
            for start in range(begin, end, 4096):
                part = fixed.dtype.type(0)
                for p in range(start, min(start + 4096, end)):
                    d = w[p] - f[p]
                    md = mask[p] * d
                    part += md * d
                    s[p] = scale * md
                total += np.float64(part)
        partial[chunk] = total

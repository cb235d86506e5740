"""Blocks: where small pieces of one image are found in another."""

import numpy as np
from torch import Tensor

from coincide.kernels.as_3d import as_3d
from coincide.kernels.backend import forbid_gradients
from coincide.kernels.blocks import loops


def match_blocks(
    fixed: Tensor, warped: Tensor, known: Tensor, starts: np.ndarray, size: int, reach: int
) -> np.ndarray:
    """Absolute correlation of blocks with their surroundings.

    Args:
        fixed: (*S), best with variance 1; the blocks are cut from it.
        warped: (*S), where they are looked for, of the same size.
        known: (*S), above 0.5 where `warped` counts; a block must lie there as a whole.
        starts: (N, D) first voxels of the blocks.
        size: Voxels of a block along each axis; fewer where an axis has fewer.
        reach: Largest offset along each axis, voxels; none where an axis has one voxel.

    Returns:
        (N, 2r+1, ...) float32 in [0, 1]; -1 where the place is not known. No gradient.
    """
    forbid_gradients("match_blocks", {"fixed": fixed, "warped": warped, "known": known})
    f, w, m = (as_3d(t[None, None].float().cpu())[0, 0] for t in (fixed, warped, known))
    dim, width = fixed.ndim, [min(size, n) for n in f.shape]
    extent = [reach if n > 1 else 0 for n in f.shape]
    corner = np.zeros((len(starts), 3), np.int64)
    corner[:, 3 - dim :] = starts
    scores = np.empty((len(starts), *(2 * r + 1 for r in extent)), np.float32)
    certain = (m > 0.5).astype(np.float32)
    loops.match(f, w, certain, corner, tuple(width), tuple(extent), scores)
    return scores.reshape(len(starts), *scores.shape[4 - dim :])

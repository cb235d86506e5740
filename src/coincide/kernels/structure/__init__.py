"""Structure: how alike the neighbours of a place are, as numbers or squeezed into few."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from coincide.kernels.backend import backend

Squeeze = tuple[Tensor, Tensor, Tensor, Tensor]
SLOPE = 0.2  # of the rectification between the two linear maps


def self_similarity(
    features: Tensor, floor: Tensor, dilations: Sequence[int], *, shared: bool = False
) -> Tensor:
    r"""$\exp(-m_k / (\bar m + \varepsilon))$ over pairs of face neighbours, per channel.

    Of each channel and dilation the twelve pairs $k$ of neighbours that lie next to each other
    are compared: $d_k = (h_a - h_b)^2$, $m_k = d_k - \min_l d_l$, and $\bar m$ is their mean.
    Borders are continued; of an image of two axes the neighbours along the third are the place
    itself.

    Args:
        features: h, (B, C, *S).
        floor: ε, (C,) or (1,), of the unit of h².
        dilations: Distances of the neighbours, voxels, one or more.
        shared: Whether $\bar m$ is the mean over all channels and dilations, so that those in
            which little differs say little.

    Returns:
        (B, C L 12, *S) in (0, 1], for L dilations: channel by channel, dilation by dilation.
        Differentiable in features and floor, by torch operations.
    """
    run = backend("structure.self_similarity", {"features": features, "floor": floor})
    return run(features, floor.expand(features.shape[1]), tuple(dilations), shared)


def structure(
    features: Tensor,
    floor: Tensor,
    dilations: Sequence[int],
    squeeze: Squeeze,
    *,
    shared: bool = False,
) -> Tensor:
    """The same, of every voxel squeezed by two linear maps to a vector of length 1.

    Never more than a few planes of the unsqueezed numbers are in memory, unless a gradient is
    wanted.

    Args:
        features: (B, C, *S).
        floor: (C,) or (1,).
        dilations: Distances of the neighbours, voxels.
        squeeze: Weights (H, C L 12) and biases (H,) of the first map, (O, H) and (O,) of the
            second; between them is a leaky rectification.
        shared: See `self_similarity`.

    Returns:
        (B, O, *S).
    """
    names = ("first", "first_bias", "second", "second_bias")
    tensors = {"features": features, "floor": floor} | dict(zip(names, squeeze, strict=True))
    run = backend("structure.structure", tensors)
    return run(features, floor.expand(features.shape[1]), tuple(dilations), squeeze, shared)


def pairs(dilations: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face neighbours at each dilation, and which of them are compared.

    Returns:
        Offsets (6 L, 3), voxels, and the places in them of the first and of the second of each
        pair, (12 L,), those of one dilation after those of another.
    """
    faces = np.array([sign * row for row in np.eye(3, dtype=int) for sign in (-1, 1)])
    # opposite neighbours, 0 and 1, 2 and 3, 4 and 5, are not next to each other
    two = np.array([(a, b) for a in range(6) for b in range(a + 1, 6) if a // 2 != b // 2])
    offsets = np.concatenate([dilation * faces for dilation in dilations])
    first, second = (
        np.concatenate([6 * n + two[:, side] for n in range(len(dilations))]) for side in (0, 1)
    )
    return offsets, first, second

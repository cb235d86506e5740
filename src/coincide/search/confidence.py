"""Confidence: how clearly one candidate place was better than the others."""

import numpy as np
import torch

from coincide.kernels.candidates import spread
from coincide.search.cost_volume import CostVolume
from coincide.space.image import Image

TEMPERATURE = 0.05  # difference of costs that counts as one; a random place costs 1


def confidence(volume: CostVolume) -> Image:
    r"""One minus the spread of the candidates of each control point, relative to that of no choice.

    With $p(d) \propto \exp(-c(d) / 0.05)$ over the shifts d of a control point,

    $$1 - \sqrt{\operatorname{var}_p(d) \big/ \operatorname{var}_{\text{uniform}}(d)}$$

    Returns:
        (1, 1, *N) on the control points: 1 where a single place matches, 0 where all match alike,
        as they do in flat regions and where nothing counts.
    """
    lattice = volume.lattice
    places, length = lattice.places, lattice.lengths
    costs = volume.lifted.reshape(len(volume.lifted), -1)
    metric = lattice.metric.astype(np.float32)
    variance = spread(costs, places, length, metric, TEMPERATURE)
    # the cube is centred, so that its mean squared length is the variance of a uniform choice
    clear = 1 - np.sqrt(variance / max(float(length.mean()), 1e-12))
    data = torch.from_numpy(clear.clip(0, 1).astype(np.float32))
    return Image(data.reshape(1, 1, *lattice.nodes.shape), lattice.nodes)

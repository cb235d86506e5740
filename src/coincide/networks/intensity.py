"""Intensity: the grey values that networks are shown."""

from torch import Tensor

LOW, HIGH = 0.01, 0.99  # quantiles that become 0 and 1
LOOKED_AT = 20_000  # values that tell the quantiles


def normalised(image: Tensor) -> Tensor:
    """From 0 to 1 between the 1st and the 99th percentile, and held a little beyond, any shape."""
    values = image.flatten()
    some = values[:: max(1, len(values) // LOOKED_AT)].sort().values
    low, high = (some[int(q * (len(some) - 1))] for q in (LOW, HIGH))
    return ((image - low) / (high - low).clamp_min(1e-6)).clamp(-0.1, 1.1)

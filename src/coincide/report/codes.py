"""Codes: the values of an image as bytes, fine where the image has much to show."""

from dataclasses import dataclass

import numpy as np

FINE = 4096  # steps between the ends, of which 256 codes are made
BUSY = 4.0  # times the mean that one step may count for, so that an empty background takes little
AIR, LUNG, SOFT = -900.0, -950.0, (-160.0, 240.0)  # HU: air around a body, in lungs; a window
LUNG_SHARE = 0.08  # of a body that is lung, above which lungs are what is looked at


@dataclass(frozen=True, eq=False)
class Codes:
    """A monotone table between values and bytes.

    Half of the codes are spread evenly between the ends, half as the values are: a CT keeps soft
    tissue in steps of few HU beside bone and air, and a window can be narrowed on the page.

    Args:
        low: Value of code 0; what is lower is shown as that.
        high: Value of code 255.
        table: (FINE,) uint8, code of each step from low to high.
        values: (256,) value of each code.
        window: Values that are black and white at first.
        hounsfield: Whether the values look like those of a CT.
    """

    low: float
    high: float
    table: np.ndarray
    values: np.ndarray
    window: tuple[float, float]
    hounsfield: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values of any shape as codes, uint8."""
        scale = np.float32((FINE - 1) / (self.high - self.low))
        steps = np.asarray(values, np.float32) * scale
        steps += np.float32(-self.low) * scale + np.float32(0.5)
        np.clip(np.nan_to_num(steps, copy=False, nan=0.0), 0, FINE - 1, out=steps)
        return self.table[steps.astype(np.uint16)]

    @classmethod
    def of(cls, values: np.ndarray) -> "Codes":
        """Codes for values like these, of any shape; those that are not finite do not count."""
        values = values[np.isfinite(values)].ravel().astype(np.float64)
        if not len(values):
            values = np.zeros(1)
        low, high = np.percentile(values, [0.02, 99.98])
        if high - low < 1e-6 * max(1.0, abs(low)):
            low, high = float(values.min()), float(values.max())
        high = max(float(high), float(low) + 1e-6 * max(1.0, abs(low)))
        low = float(low)
        count, _ = np.histogram(values, FINE, (low, high))
        count = np.minimum(count, BUSY * max(count.mean(), 1e-12))
        spread = np.cumsum(count) - count / 2
        even = np.linspace(0, 1, FINE)
        share = (even + spread / max(float(spread[-1]), 1e-12)) / 2
        share = (share - share[0]) / (share[-1] - share[0])
        steps = np.linspace(low, high, FINE)
        window, hounsfield = shown(values)
        return cls(
            low,
            high,
            np.round(255 * share).astype(np.uint8),
            np.interp(np.arange(256), 255 * share, steps),
            window,
            hounsfield,
        )

    @classmethod
    def of_colour(cls, values: np.ndarray) -> "Codes":
        """Codes for red, green and blue: from 0 to 1, to 255, or to the largest of them."""
        most = float(np.nanmax(values, initial=0.0))
        high = next((end for end in (1.0, 255.0) if most <= end), most)
        even = np.linspace(0, 255, FINE)
        values = np.linspace(0, high, 256)
        return cls(0.0, high, np.round(even).astype(np.uint8), values, (0.0, high), False)


def shown(values: np.ndarray) -> tuple[tuple[float, float], bool]:
    """Values shown black and white at first, and whether they look like Hounsfield units."""
    low = float(np.percentile(values, 0.5))
    within = values[values > low + 0.04 * (values.max() - low)]
    high = float(np.percentile(within, 99.7)) if len(within) else low + 1
    hounsfield = bool(low < AIR and low > -4000 and (values > 0).any())
    if hounsfield:
        lung = ((within > LUNG) & (within < -500)).mean() if len(within) else 1.0
        if lung < LUNG_SHARE:
            return SOFT, True
    # white matter of a bias-corrected scan is one value: leave room above it
    high += 0.12 * (high - low)
    return (low, max(high, low + 1e-6)), hounsfield

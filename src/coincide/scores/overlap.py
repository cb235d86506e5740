"""OverlapScores: how well two label maps cover each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class OverlapScores:
    """Dice and Jaccard of every label of the fixed map.

    Args:
        dice: Label to Dice, 0 to 1; 0 where the label is missing in the warped map.
        jaccard: Label to Jaccard, 0 to 1.
        missing: Labels of the fixed map that the warped map lacks; they count, as 0.
        extra: Labels that only the warped map has; they are not scored.
    """

    dice: dict[int, float]
    jaccard: dict[int, float]
    missing: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def mean_dice(self) -> float | None:
        """Mean over the labels of the fixed map; None without any."""
        return float(np.mean(list(self.dice.values()))) if self.dice else None

    @property
    def mean_jaccard(self) -> float | None:
        """Mean over the labels of the fixed map; None without any."""
        return float(np.mean(list(self.jaccard.values()))) if self.jaccard else None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; labels as text."""
        return {
            "mean_dice": self.mean_dice,
            "mean_jaccard": self.mean_jaccard,
            "labels": {
                str(label): {"dice": self.dice[label], "jaccard": self.jaccard[label]}
                for label in self.dice
            },
            "missing": list(self.missing),
            "extra": list(self.extra),
        }


def overlap(fixed: np.ndarray, warped: np.ndarray) -> OverlapScores:
    r"""Dice and Jaccard per label; the background, 0, is never counted.

    One says that two outlines of an organ cover each other exactly, zero that they do not touch.
    $\mathrm{Dice} = 2|F \cap W| / (|F| + |W|)$, $\mathrm{Jaccard} = |F \cap W| / |F \cup W|$.

    Args:
        fixed: Integer labels, (*S); ids may be sparse or negative.
        warped: Moving labels on the fixed grid, (*S).

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if the shapes differ.

    Example:
        >>> import numpy as np
        >>> overlap(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])).dice
        {1: 0.6666666666666666, 2: 0.6666666666666666}
    """
    _check(fixed, warped)
    # most of an image is background: leave it before counting
    kept = np.flatnonzero((fixed != 0) | (warped != 0))
    fixed, warped = fixed.reshape(-1)[kept], warped.reshape(-1)[kept]
    inside, moved = counts(fixed), counts(warped)
    both = counts(fixed[fixed == warped])
    dice, jaccard = {}, {}
    for label, size in inside.items():
        common, other = both.get(label, 0), moved.get(label, 0)
        dice[label] = 2 * common / (size + other)
        jaccard[label] = common / (size + other - common)
    return OverlapScores(
        dice,
        jaccard,
        missing=tuple(label for label in inside if label not in moved),
        extra=tuple(label for label in moved if label not in inside),
    )


def counts(labels: np.ndarray) -> dict[int, int]:
    """Voxels of every label but the background, by ascending label."""
    if labels.size == 0:
        return {}
    low, high = int(labels.min()), int(labels.max())
    if high - low < 1 << 20:
        amount = np.bincount(labels.reshape(-1).astype(np.int64) - low)
        present = np.flatnonzero(amount)
        values, amount = present + low, amount[present]
    else:
        values, amount = np.unique(labels, return_counts=True)
    pairs = zip(values.tolist(), amount.tolist(), strict=True)
    return {label: amount for label, amount in pairs if label != 0}


def _check(fixed: np.ndarray, warped: np.ndarray) -> None:
    for name, labels in (("fixed", fixed), ("warped", warped)):
        if labels.dtype.kind not in "iub":
            raise TypeError(
                f"the {name} labels are {labels.dtype}; give integers, "
                "for instance labels.round().astype(int)"
            )
    if fixed.shape != warped.shape:
        raise ValueError(
            f"fixed labels {fixed.shape} and warped labels {warped.shape} lie on different grids; "
            "resample the moving labels onto the fixed grid with interpolation='nearest'"
        )

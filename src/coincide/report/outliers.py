"""Outliers: which pairs of a cohort came out unlike the others."""

from collections.abc import Mapping, Sequence

import numpy as np

FEWEST = 5  # pairs: of fewer nobody can say what is usual
LIMIT = 3.5  # robust z-score; Iglewicz and Hoaglin
# the side on which a score is bad
WORSE = {
    "Dice": -1,
    "HD95": 1,
    "TRE": 1,
    "Similarity gain": -1,
    "Folding": 1,
    "Folded volume": 1,
    "Inverse residual": 1,
}


def outliers(scores: Sequence[Mapping[str, float | None]]) -> list[dict[str, float]]:
    r"""Scores of each pair that are worse than usual in the cohort, with their robust z-score.

    $z = 0.6745\,(x - \tilde{x}) / \mathrm{MAD}$ with the median $\tilde{x}$ and the median absolute
    deviation; where more than half of the pairs agree exactly, so that MAD is 0, the mean absolute
    deviation times 1.2533 takes the place of MAD / 0.6745. Marked is what lies more than 3.5 on the
    bad side, among at least five pairs.

    Args:
        scores: For each pair its scores by name, such as Dice and TRE; others are ignored.

    References:
        Iglewicz and Hoaglin 1993, How to Detect and Handle Outliers, ASQC Quality Press.

    Example:
        >>> outliers([{"Dice": d} for d in (0.80, 0.81, 0.79, 0.82, 0.80, 0.31)])[-1]
        {'Dice': -33.1}
    """
    found: list[dict[str, float]] = [{} for _ in scores]
    for name, side in WORSE.items():
        values = np.array([_number(pair.get(name)) for pair in scores])
        known = values[np.isfinite(values)]
        if len(known) < FEWEST:
            continue
        apart = np.abs(known - np.median(known))
        spread = float(np.median(apart)) / 0.6745 or 1.2533 * float(apart.mean())
        if spread < 1e-12:
            continue
        z = (values - np.median(known)) / spread
        for pair, value in zip(found, z, strict=True):
            if value * side > LIMIT:
                pair[name] = round(float(value), 1)
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)

"""Likeness: how alike two images are on the same voxels, in numbers that need no settings."""

from dataclasses import dataclass

import numpy as np

BINS = 48  # of each image: a million voxels fill 48² cells


@dataclass(frozen=True)
class Likeness:
    """Two similarities of a pair of images.

    Args:
        ncc: Correlation, -1 to 1; 1 where one image is the other times a factor plus a constant.
            None where one of them is flat.
        nmi: Normalised mutual information, 1 to 2; 1 where neither says anything about the other,
            whatever the contrasts. None where both are flat.
    """

    ncc: float | None
    nmi: float | None

    @classmethod
    def of(
        cls, fixed: np.ndarray, other: np.ndarray, counted: np.ndarray | None = None
    ) -> "Likeness":
        r"""Compare two arrays (*S) where they count.

        $\mathrm{NMI} = (H(F) + H(W)) / H(F, W)$ by 48 bins an image that hold alike many values.

        References:
            Studholme et al. 1999, doi:10.1016/S0031-3203(98)00091-0.
        """
        F, W = (
            (image if counted is None else image[counted]).ravel().astype(np.float64)
            for image in (fixed, other)
        )
        finite = np.isfinite(F) & np.isfinite(W)
        F, W = F[finite], W[finite]
        if not len(F):
            return cls(None, None)
        deviation = float(F.std() * W.std())
        ncc = None
        if deviation > 1e-12:
            ncc = float(((F - F.mean()) * (W - W.mean())).mean() / deviation)
        joint = np.bincount(BINS * _binned(F) + _binned(W), minlength=BINS**2) / len(F)
        joint = joint.reshape(BINS, BINS)
        together = _entropy(joint)
        apart = _entropy(joint.sum(1)) + _entropy(joint.sum(0))
        return cls(ncc, apart / together if together > 1e-12 else None)


def _binned(values: np.ndarray) -> np.ndarray:
    # equal shares rather than equal widths: one bright vessel must not take most of the bins
    some = values[:: max(1, len(values) // 50_000)]
    edges = np.unique(np.percentile(some, np.linspace(0, 100, BINS + 1)))
    return np.searchsorted(edges[1:-1], values, side="right")


def _entropy(share: np.ndarray) -> float:
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())

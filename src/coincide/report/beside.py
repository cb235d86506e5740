"""Beside: what a report shows of a pair that its registration does not hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

import numpy as np

from coincide.scores.label_names import renumbered
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Beside:
    """Label maps, landmarks, names and files of a pair, for drawing; all may be left out.

    Args:
        fixed_labels: Integer labels in the fixed world, on any grid.
        moving_labels: Integer labels in the moving world.
        fixed_points: (P, D) landmarks of the fixed image, world RAS+, mm.
        moving_points: (P, D) their partners in the moving image, row by row.
        label_names: Number of a label to its name, in the numbering of the fixed map.
        moving_label_map: Number in the moving map to that of the same organ in the fixed map, where
            the two maps number organs differently; what it does not list is left out.
        fixed_file: File of the fixed image: its name is shown, and its colours, which the image
            itself may have lost. None: what the settings of the registration say.
        moving_file: The same of the moving image.

    Raises:
        ValueError: if labels or landmarks are given of one image only, or do not pair up.
    """

    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    fixed_points: np.ndarray | None = None
    moving_points: np.ndarray | None = None
    label_names: Mapping[int, str] | None = None
    moving_label_map: Mapping[int, int] | None = None
    fixed_file: str | PurePath | None = None
    moving_file: str | PurePath | None = None

    def __post_init__(self):
        for kind in ("labels", "points"):
            one, other = getattr(self, f"fixed_{kind}"), getattr(self, f"moving_{kind}")
            if (one is None) != (other is None):
                given, lacking = ("moving", "fixed") if one is None else ("fixed", "moving")
                raise ValueError(
                    f"{given}_{kind} were given without {lacking}_{kind}; give both or neither"
                )
        if self.points is not None:
            first, second = self.points
            if first.shape != second.shape or first.ndim != 2:
                raise ValueError(
                    f"landmarks of shape {first.shape} and {second.shape} do not pair up; give two "
                    "arrays (P, D) in mm, row by row the same place"
                )

    @cached_property
    def labels(self) -> tuple[Image, Image] | None:
        """Both label maps in the numbering of the fixed one; None without any."""
        if self.fixed_labels is None or self.moving_labels is None:
            return None
        if self.moving_label_map is None:
            return self.fixed_labels, self.moving_labels
        return self.fixed_labels, renumbered(self.moving_labels, self.moving_label_map)

    @property
    def points(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Both sets of landmarks, mm, (P, D) each; None without any."""
        if self.fixed_points is None or self.moving_points is None:
            return None
        return np.asarray(self.fixed_points, float), np.asarray(self.moving_points, float)

"""Evaluate: every score of a registration in one call."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from coincide.alignment import Alignment
from coincide.files.accept import as_image
from coincide.initialise.mask import with_mask
from coincide.registration import Registration
from coincide.scan import as_labels, as_points
from coincide.scores.consistency import Consistency, consistency
from coincide.scores.landmarks import LandmarkScores, landmarks
from coincide.scores.numbering import differently_numbered
from coincide.scores.overlap import OverlapScores, overlap
from coincide.scores.regularity import Regularity, regularity
from coincide.scores.surface import Surface, surface
from coincide.scores.uncertainty import Uncertainty, uncertainty
from coincide.space.image import Image
from coincide.space.sampling import resample


@dataclass(frozen=True)
class Scores:
    """What a registration achieved; None for what was not asked.

    Args:
        regularity: Folding, volume change and size of the displacement.
        overlap: Dice and Jaccard, where labels were given.
        surface: HD95 and ASSD, where labels were given.
        landmarks: Target registration error, where landmarks were given.
        inverse: Inverse residual, where an inverse is known.
        uncertainty: How far two networks disagree, where a `cycle` was fitted.
    """

    regularity: Regularity
    overlap: OverlapScores | None = None
    surface: Surface | None = None
    landmarks: LandmarkScores | None = None
    inverse: Consistency | None = None
    uncertainty: Uncertainty | None = None

    def to_dict(self) -> dict[str, Any]:
        """Nested plain numbers with units in their names, ready for JSON."""
        return {
            name: None if part is None else part.to_dict()
            for name, part in (
                ("overlap", self.overlap),
                ("surface", self.surface),
                ("landmarks", self.landmarks),
                ("regularity", self.regularity),
                ("inverse", self.inverse),
                ("uncertainty", self.uncertainty),
            )
        }


def evaluate(
    result: Registration | Alignment,
    *,
    inverse: Any = None,
    fixed_labels: Any = None,
    moving_labels: Any = None,
    fixed_points: Any = None,
    moving_points: Any = None,
    fixed_mask: Any = None,
) -> Scores:
    """Scores of one registered pair.

    Regularity is always measured, within the fixed mask where there is one. Labels bring overlap
    and surface distances, landmarks the target registration error, an inverse its residual, and a
    `cycle` its uncertainty.
    Labels and landmarks that are not given here are those that were given to `register`.
    `warnings.warn` says where labels seem to be numbered differently, or the registration moved
    landmarks apart.

    Args:
        result: What `register` returned, or two images and a transform.
        inverse: Moving-world to fixed-world points; None: that of the registration.
        fixed_labels: Integer labels in the fixed world, a path or any image, on any grid; scores
            are taken there.
        moving_labels: The same in the moving world; warped with nearest neighbour.
        fixed_points: Landmarks of the fixed image: a file, or (P, D) in world RAS+, mm.
        moving_points: Their partners in the moving image.
        fixed_mask: Where regularity and the inverse are measured instead, a path or any image.

    Raises:
        ValueError: if only one of two labels or landmarks is given, several pairs at once, or a
            transform that is not finite.
        TypeError: if labels are not integers.

    Example:
        >>> import numpy as np, torch
        >>> from coincide.transforms.displacement import Displacement
        >>> image = Image.from_array(np.random.default_rng(0).random((8, 8, 8)))
        >>> still = Displacement(grid=image.grid)
        >>> evaluate(Alignment(image, image, still)).regularity.max_displacement_mm
        0.0
    """
    _paired("labels", fixed_labels, moving_labels)
    _paired("points", fixed_points, moving_points)
    alignment = result.alignment if isinstance(result, Registration) else result
    if isinstance(result, Registration):
        inverse = result.inverse if inverse is None else inverse
        if fixed_labels is None and result.labels is not None:
            fixed_labels, moving_labels = result.labels
        if fixed_points is None and result.points is not None:
            fixed_points, moving_points = result.points
    fixed, moving, transform = alignment.fixed, alignment.moving, alignment.transform
    if fixed_mask is not None:
        where = as_image(fixed_mask).image
        fixed, _ = with_mask(fixed.with_mask(None), where, "the fixed mask")
    with torch.no_grad():
        if not alignment.displacement.sum().isfinite():
            raise ValueError(
                "the displacement holds values that are not finite: the transform diverged; "
                "register again with a smaller step or a larger penalty"
            )
        regular = regularity(alignment.displacement, fixed.grid, fixed.mask)
        overlaps = surfaces = points = back = None
        if fixed_labels is not None and moving_labels is not None:
            labels = as_labels(fixed_labels)
            first = labels.numpy()
            second = warped_labels(alignment, labels, as_labels(moving_labels)).numpy()
            overlaps = overlap(first, second)
            surfaces = surface(first, second, labels.grid)
            _tell_numbering(differently_numbered(first, second))
        if fixed_points is not None and moving_points is not None:
            here, there = as_points(fixed_points, fixed), as_points(moving_points, moving)
            points = landmarks(transform, here, there, moving.grid)
            _tell_apart(points, moving.grid.finest)
        if inverse is not None:
            back = consistency(transform, inverse, fixed, moving)
        doubt = uncertainty(transform, fixed)
    return Scores(regular, overlaps, surfaces, points, back, doubt)


def _tell_numbering(found: dict[int, int]) -> None:
    if found:
        some = ", ".join(f"{a} on {b}" for a, b in list(found.items())[:4])
        warnings.warn(
            "the two label maps seem to number organs differently: after the registration these "
            f"labels of the fixed map lie on another number of the moving map: {some}. If so, "
            "their scores say nothing; give a table of moving and fixed numbers: label_map= in "
            "Python, --moving-label-map in the terminal",
            UserWarning,
            stacklevel=3,
        )


def _tell_apart(found: LandmarkScores, voxel: float) -> None:
    if found.tre_mean_mm > found.initial_mean_mm + voxel:
        warnings.warn(
            f"the registration moved the landmarks apart, from {found.initial_mean_mm:.2f} to "
            f"{found.tre_mean_mm:.2f} mm on average; if the images look right, check the order of "
            "the points and their world (RAS, LPS or pixels)",
            UserWarning,
            stacklevel=3,
        )


def warped_labels(alignment: Alignment, fixed_labels: Image, moving_labels: Image) -> Image:
    """The moving labels seen on the grid of the fixed labels, nearest neighbour."""
    grid = fixed_labels.grid
    field = alignment.displacement
    if grid != alignment.fixed.grid:
        field = alignment.transform.displacement(grid)
    if moving_labels.data.is_floating_point():
        raise TypeError(
            f"the moving labels are {moving_labels.data.dtype}; give integers, "
            "for instance Image.from_array(labels.round().astype(int), affine)"
        )
    field = field.to(moving_labels.data.device)
    return resample(moving_labels, grid, field, interpolation="nearest")


def _paired(what: str, fixed: Any, moving: Any) -> None:
    if (fixed is None) != (moving is None):
        given, lacking = ("fixed", "moving") if moving is None else ("moving", "fixed")
        raise ValueError(
            f"{given}_{what} were given without {lacking}_{what}; give both or neither"
        )

"""Score: what a displacement is worth, by one code for every peer."""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from cases import Case

import coincide as co
from coincide.scores.overlap import overlap
from coincide.scores.surface import surface


def score(case: Case, displacement: np.ndarray) -> dict[str, float]:
    """Dice, HD95, target registration error and folding, as far as the case can tell.

    Args:
        case: Whose labels and points are used.
        displacement: (z, y, x, 3), LPS mm, at the voxels of the fixed image, moving minus fixed.

    Raises:
        ValueError: if the displacement does not fit the fixed image or is not finite.
    """
    fixed = sitk.ReadImage(str(case.fixed))
    if displacement.shape != (*fixed.GetSize()[::-1], 3):
        raise ValueError(f"displacement {displacement.shape} for an image {fixed.GetSize()}")
    if not np.isfinite(displacement).all():
        raise ValueError("the displacement is not finite")
    field = sitk.GetImageFromArray(displacement.astype(np.float64), isVector=True)
    field.CopyInformation(fixed)
    transform = sitk.DisplacementFieldTransform(field)  # takes the field away
    result, inside = {}, np.ones(displacement.shape[:-1], bool)
    if case.fixed_labels and case.moving_labels:
        labels = sitk.ReadImage(str(case.fixed_labels))
        moving = sitk.ReadImage(str(case.moving_labels))
        warped = sitk.Resample(moving, labels, transform, sitk.sitkNearestNeighbor, 0)
        one, two = (only(image, case.labels) for image in (labels, warped))
        result["dice"] = overlap(one, two).mean_dice
        result["hd95_mm"] = surface(one, two, co.read_labels(case.fixed_labels).grid).mean_hd95_mm
        inside = sitk.GetArrayFromImage(labels) > 0
    if case.points:
        points = np.load(case.points)
        found = np.array([transform.TransformPoint(p) for p in points["fixed"].tolist()])
        error = np.linalg.norm(found - points["moving"], axis=1)
        result["tre_mean_mm"], result["tre_median_mm"] = error.mean(), np.median(error)
        result["tre_p95_mm"], result["tre_max_mm"] = np.percentile(error, 95), error.max()
    result["folding_pct"] = folding(displacement, fixed, inside)
    return {name: float(value) for name, value in result.items() if value is not None}


def only(image: sitk.Image, labels: tuple[int, ...]) -> np.ndarray:
    """Labels that are scored, (x, y, z), all others 0; no choice: every one."""
    array = sitk.GetArrayFromImage(image).astype(np.int64).transpose()
    return np.where(np.isin(array, labels), array, 0) if labels else array


def folding(displacement: np.ndarray, fixed: sitk.Image, inside: np.ndarray) -> float:
    """Percentage of voxels whose Jacobian determinant is not positive.

    The worse of the whole image, without two voxels at its border, and of what is `inside`.

    Args:
        displacement: (z, y, x, 3), LPS mm.
        fixed: Whose voxels they are.
        inside: (z, y, x), true where there is anatomy.
    """
    # ITK takes differences along the axes of the grid, so the vectors must be in these too
    local = displacement @ np.reshape(fixed.GetDirection(), (3, 3))
    field = sitk.GetImageFromArray(local.astype(np.float64), isVector=True)
    field.SetSpacing(fixed.GetSpacing())
    folded = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field)) <= 0
    middle = (slice(2, -2),) * 3
    folded, inside = folded[middle], inside[middle]
    return 100 * max(folded.mean(), folded[inside].mean() if inside.any() else 0.0)

"""Linear: an affine or rigid map by SimpleITK, for itself and for peers that have none."""

import SimpleITK as sitk  # noqa: N813

BINS = 32


def linear(fixed: sitk.Image, moving: sitk.Image, kind: str) -> sitk.Transform:
    """Fixed to moving points, LPS mm, by Mattes' mutual information.

    Args:
        fixed: Floating-point image.
        moving: Floating-point image.
        kind: `affine`, `rigid`, or `none` for the identity.
    """
    if kind == "none":
        return sitk.Transform(3, sitk.sitkIdentity)
    start = {"affine": sitk.AffineTransform(3), "rigid": sitk.Euler3DTransform()}[kind]
    centres = sitk.CenteredTransformInitializerFilter.MOMENTS
    start = sitk.CenteredTransformInitializer(fixed, moving, start, centres)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(0.1, seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsGradientDescent(
        learningRate=1.0,
        numberOfIterations=200,
        convergenceMinimumValue=1e-6,
        convergenceWindowSize=10,
        estimateLearningRate=method.EachIteration,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(start, inPlace=False)
    return method.Execute(fixed, moving)

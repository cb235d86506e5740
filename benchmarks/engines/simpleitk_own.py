"""SimpleITK: its own registration framework; the variant is `bspline` or `demons`."""

from job import Job

job = Job.read()
with job.stage("import"):
    import numpy as np
    import SimpleITK as sitk  # noqa: N813
    from linear import BINS, linear

MESH = 100.0  # mm between control points on the first of three levels, each half of the one before
SAMPLES = 200_000
SHRINK, STEPS = (4, 2, 1), (100, 50, 30)


def bspline(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """B-spline deformations by Mattes' mutual information and L-BFGS-B, each inside the last."""
    # one after the other: L-BFGS-B refuses, and L-BFGS2 spoils, a B-spline refined on the way
    found = []
    size = np.array(fixed.GetSize()) * fixed.GetSpacing()
    for number, shrink in enumerate(SHRINK):
        mesh = [max(1, int(n)) for n in np.rint(size / MESH * 2**number)]
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfWorkUnits(job.threads)  # each holds a large table
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        share = min(1.0, SAMPLES * shrink**3 / fixed.GetNumberOfPixels())
        method.SetMetricSamplingPercentage(share, seed=1)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsLBFGSB(
            gradientConvergenceTolerance=1e-5,
            numberOfIterations=100,
            maximumNumberOfCorrections=5,
            maximumNumberOfFunctionEvaluations=1000,
            costFunctionConvergenceFactor=1e7,
        )
        start = sitk.BSplineTransformInitializer(fixed, mesh, order=3)
        method.SetInitialTransform(start, inPlace=False)
        warped = sitk.Resample(moving, fixed, sitk.CompositeTransform(found)) if found else moving
        pair = level(fixed, shrink), level(warped, shrink)
        found.append(method.Execute(*pair))
    return sitk.CompositeTransform(found)


def demons(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """Symmetric diffeomorphic demons on three levels, after matching the histograms."""
    moving = sitk.HistogramMatching(moving, fixed, 1024, 7, True)
    field = None
    for shrink, steps in zip(SHRINK, STEPS, strict=True):
        pair = [level(image, shrink) for image in (fixed, moving)]
        method = sitk.DiffeomorphicDemonsRegistrationFilter()
        method.SetNumberOfIterations(steps)
        method.SetStandardDeviations(1.5)
        if field is None:
            field = method.Execute(*pair)
        else:
            field = method.Execute(*pair, sitk.Resample(field, pair[0]))
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def level(image: sitk.Image, shrink: int) -> sitk.Image:
    """The image with voxels larger by `shrink`, smoothed before; thin axes keep theirs."""
    spacing = np.array(image.GetSpacing())
    factor = [max(1, int(shrink * spacing.min() / s + 0.5)) for s in spacing]
    if shrink == 1:
        return image
    smooth = sitk.SmoothingRecursiveGaussian(image, (0.5 * np.array(factor) * spacing).tolist())
    return sitk.Shrink(smooth, factor)


if job.variant == "demons" and job.contrast != "same":
    raise SystemExit("demons compares grey values: it needs images of the same contrast")
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(job.threads)
with job.stage("read"):
    fixed = sitk.ReadImage(job.fixed, sitk.sitkFloat32)
    moving = sitk.ReadImage(job.moving, sitk.sitkFloat32)
with job.stage("linear"):
    affine = linear(fixed, moving, job.linear)
with job.stage("deformable"):
    warped = moving
    if job.linear != "none":
        background = float(sitk.GetArrayViewFromImage(moving).min())
        warped = sitk.Resample(moving, fixed, affine, sitk.sitkLinear, background)
    elif moving.GetSize() != fixed.GetSize():
        warped = sitk.Resample(moving, fixed)
    bent = {"bspline": bspline, "demons": demons}[job.variant](fixed, warped)
with job.stage("export"):
    total = sitk.TransformToDisplacementField(
        sitk.CompositeTransform([affine, bent]),
        sitk.sitkVectorFloat64,
        fixed.GetSize(),
        fixed.GetOrigin(),
        fixed.GetSpacing(),
        fixed.GetDirection(),
    )
    displacement = sitk.GetArrayFromImage(total)
spoken = {
    "bspline": f"ImageRegistrationMethod: Mattes {BINS} bins, B-spline {MESH:g} mm halved twice, "
    f"{SAMPLES} samples and 100 steps of L-BFGS-B a level",
    "demons": "DiffeomorphicDemons: 100x50x30 steps, standard deviation 1.5 voxels",
}[job.variant]
job.finish(displacement, version=sitk.Version_VersionString(), settings=spoken)

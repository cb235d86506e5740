"""ConvexAdam: MIND features with its default settings, after an affine map by SimpleITK."""

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import numpy as np
    import SimpleITK as sitk  # noqa: N813
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt
    from linear import linear

GRID = 6  # voxels; the sides of its images must be multiples of it
torch.set_num_threads(job.threads)
torch.manual_seed(1)
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(job.threads)
with job.stage("read"):
    fixed = sitk.ReadImage(job.fixed, sitk.sitkFloat32)
    moving = sitk.ReadImage(job.moving, sitk.sitkFloat32)
with job.stage("linear"):
    affine = linear(fixed, moving, job.linear)
with job.stage("deformable"):
    outside = float(sitk.GetArrayViewFromImage(moving).min())
    warped = sitk.Resample(moving, fixed, affine, sitk.sitkLinear, outside)
    pair = [sitk.GetArrayFromImage(image) for image in (fixed, warped)]
    shape = pair[0].shape
    width = [(0, -side % GRID) for side in shape]
    pair = [torch.from_numpy(np.pad(image, width, mode="edge")) for image in pair]
    moved = convex_adam_pt(*pair, grid_sp=GRID, device=torch.device("cpu"))
    moved = moved[: shape[0], : shape[1], : shape[2]]
with job.stage("export"):
    # voxels along (z, y, x) to mm along the axes of the image, then to the world
    turn = np.reshape(fixed.GetDirection(), (3, 3))
    bent = (moved[..., ::-1] * fixed.GetSpacing()) @ turn.T
    field = sitk.GetImageFromArray(np.ascontiguousarray(bent), isVector=True)
    field.CopyInformation(fixed)
    chain = sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(field)])
    total = sitk.TransformToDisplacementField(
        chain,
        sitk.sitkVectorFloat64,
        fixed.GetSize(),
        fixed.GetOrigin(),
        fixed.GetSpacing(),
        fixed.GetDirection(),
    )
    displacement = sitk.GetArrayFromImage(total)
before = "" if job.linear == "none" else f"{job.linear} by SimpleITK (it has none); "
job.finish(
    displacement,
    version=version("convexAdam"),
    settings=f"{before}convex_adam_pt with its defaults, sides padded to multiples of {GRID}",
)

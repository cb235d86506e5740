"""Elastix: its default parameter maps, by mutual information.

One stage after the other: given both at once, or the first as the start of the second, the wheels
0.23.0 and 0.25.4 end with a segmentation fault.
"""

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import itk
    import numpy as np

RESOLUTIONS = 4
itk.set_nthreads(job.threads)


def register(moving: itk.Image, kind: str) -> tuple[itk.Image, itk.ParameterObject]:
    """The warped moving image, and the transform, of one stage."""
    steps = itk.ParameterObject.New()
    chosen = steps.GetDefaultParameterMap(kind, RESOLUTIONS)
    # start with the middles of the two images, then with what is aligned
    chosen["AutomaticTransformInitialization"] = [str(kind != "bspline").lower()]
    steps.AddParameterMap(chosen)
    return itk.elastix_registration_method(
        fixed, moving, parameter_object=steps, number_of_threads=job.threads
    )


with job.stage("read"):
    fixed, moving = itk.imread(job.fixed, itk.F), itk.imread(job.moving, itk.F)
warped, first = moving, None
if job.linear != "none":
    with job.stage("linear"):
        warped, first = register(moving, job.linear)
with job.stage("deformable"):
    _, second = register(warped, "bspline")
with job.stage("export"):
    bent = itk.array_from_image(itk.transformix_deformation_field(warped, second)).astype(float)
    if first is not None:
        # the linear map, from where it takes some of the voxels: total = A (x + u) - x
        shift = itk.array_from_image(itk.transformix_deformation_field(moving, first))
        direction = itk.array_from_matrix(fixed.GetDirection()) * np.array(fixed.GetSpacing())
        index = np.moveaxis(np.indices(bent.shape[:3])[::-1], 0, -1)
        here = index @ direction.T + np.array(fixed.GetOrigin())
        some = (slice(None, None, 9),) * 3
        x, y = here[some].reshape(-1, 3), (here + shift)[some].reshape(-1, 3)
        solved = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
        bent = (here + bent) @ solved[:3] + solved[3] - here
kinds = [job.linear] * (job.linear != "none") + ["bspline"]
job.finish(
    bent,
    version=version("itk-elastix"),
    settings=f"itk.elastix_registration_method, default maps {', then '.join(kinds)}, "
    f"{RESOLUTIONS} resolutions",
)

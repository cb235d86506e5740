"""Elastix: its default parameter maps, by mutual information."""

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import itk

RESOLUTIONS = 4
# its own argument number_of_threads ends in a segmentation fault (0.23.0 and 0.25.4)
itk.set_nthreads(job.threads)
kinds = [job.linear] * (job.linear != "none") + ["bspline"]
steps = itk.ParameterObject.New()
for kind in kinds:
    chosen = steps.GetDefaultParameterMap(kind, RESOLUTIONS)
    # the linear stage starts with the middles of the two images, others where they are
    chosen["AutomaticTransformInitialization"] = [str(kind == job.linear).lower()]
    steps.AddParameterMap(chosen)
with job.stage("read"):
    fixed, moving = itk.imread(job.fixed, itk.F), itk.imread(job.moving, itk.F)
with job.stage("deformable" if job.linear == "none" else "both"):
    _, found = itk.elastix_registration_method(fixed, moving, parameter_object=steps)
with job.stage("export"):
    displacement = itk.array_from_image(itk.transformix_deformation_field(moving, found))
job.finish(
    displacement,
    version=version("itk-elastix"),
    settings=f"itk.elastix_registration_method, default maps {', then '.join(kinds)}, "
    f"{RESOLUTIONS} resolutions",
)

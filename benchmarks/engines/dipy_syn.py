"""DIPY: its two functions for affine and SyN registration, with their defaults."""

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import nibabel as nib
    import numpy as np
    from dipy.align import affine_registration, syn_registration

with job.stage("read"):
    fixed, moving = (nib.load(path) for path in (job.fixed, job.moving))
    fixed, moving = ((np.asarray(i.dataobj, np.float64), i.affine) for i in (fixed, moving))
settings, prealign = "", None
if job.linear != "none":
    pipeline = ["center_of_mass", "translation", "rigid", "affine"]
    pipeline = pipeline[:3] if job.linear == "rigid" else pipeline
    with job.stage("linear"):
        _, prealign = affine_registration(
            moving[0],
            fixed[0],
            moving_affine=moving[1],
            static_affine=fixed[1],
            pipeline=pipeline,
        )
    settings = f"affine_registration(pipeline={pipeline}); "
with job.stage("deformable"):
    _, mapping = syn_registration(
        moving[0],
        fixed[0],
        moving_affine=moving[1],
        static_affine=fixed[1],
        prealign=prealign,
        metric="CC",
    )
with job.stage("export"):
    # World coordinates are linear, so an image of two voxels along each axis holds them exactly;
    # warped, it says where every fixed voxel goes.
    reach = 2000.0
    corners = np.indices((2, 2, 2)) * 2 * reach - reach
    to_voxel = np.diag([0.5 / reach] * 3 + [1.0])
    to_voxel[:3, 3] = 0.5
    target = [
        mapping.transform(axis, interpolation="linear", image_world2grid=to_voxel)
        for axis in corners
    ]
    index = np.indices(fixed[0].shape).reshape(3, -1)
    here = fixed[1][:3, :3] @ index + fixed[1][:3, 3:]
    displacement = np.stack(target) - here.reshape(3, *fixed[0].shape)
    displacement[:2] *= -1
job.finish(
    displacement.transpose(3, 2, 1, 0),
    version=version("dipy"),
    settings=settings + 'syn_registration(metric="CC")',
)

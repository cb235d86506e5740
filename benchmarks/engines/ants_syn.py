"""ANTsPy: the variant is its type of transform, with `?` for the stages that are wanted."""

from job import Job

job = Job.read()
with job.stage("import"):
    import ants

# of antsRegistrationSyN.sh: rigid, affine and SyN; rigid and SyN; SyN alone
stages = {"affine": "s", "rigid": "sr", "none": "so"}[job.linear]
if "?" not in job.variant and job.linear != "affine":
    # ANTsPy's own types begin with an affine stage; this one does not
    raise SystemExit(f"{job.variant} always begins with an affine stage; this case wants none")
kind = job.variant.replace("?", stages)
with job.stage("read"):
    fixed, moving = ants.image_read(job.fixed), ants.image_read(job.moving)
stage = "deformable" if job.linear == "none" else "both"
with job.stage(stage):
    found = ants.registration(
        fixed, moving, type_of_transform=kind, outprefix=f"{job.out}/ants_", random_seed=1
    )
with job.stage("export"):
    path = ants.apply_transforms(fixed, moving, found["fwdtransforms"], compose=f"{job.out}/total_")
    total = ants.image_read(path)
    # (x, y, z, 3) in memory
    field = total.numpy().transpose(2, 1, 0, 3)
job.finish(
    field,
    version=ants.__version__,
    settings=f'ants.registration(fixed, moving, type_of_transform="{kind}", random_seed=1)',
)

"""FireANTs: moments, affine and greedy registration on the CPU; made for CUDA."""

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import SimpleITK as sitk  # noqa: N813
    import torch
    from fireants.io.image import BatchedImages, Image
    from fireants.registration.affine import AffineRegistration
    from fireants.registration.greedy import GreedyRegistration

SCALES, STEPS = [4, 2, 1], [200, 100, 50]
torch.set_num_threads(job.threads)
quiet = {"cc_kernel_size": 5, "progress_bar": False}
loss = {"same": "cc", "different": "mi"}[job.contrast]
with job.stage("read"):
    fixed, moving = (
        BatchedImages([Image.load_file(path, device="cpu")]) for path in (job.fixed, job.moving)
    )
matrix, before = None, ""
if job.linear == "rigid":
    raise SystemExit("a rigid start is not among what is compared here; it begins with an affine")
if job.linear == "affine":
    with job.stage("linear"):
        first = AffineRegistration(
            SCALES, STEPS, fixed, moving, loss_type=loss, init_rigid="cof", **quiet
        )
        first.optimize()
        matrix = first.get_affine_matrix().detach()
    before = f"AffineRegistration({SCALES}, {STEPS}, loss_type='{loss}'); "
with job.stage("deformable"):
    second = GreedyRegistration(
        SCALES, STEPS, fixed, moving, loss_type=loss, init_affine=matrix, **quiet
    )
    second.optimize()
with job.stage("export"):
    path = f"{job.out}/warp.nii.gz"
    second.save_as_ants_transforms(path)
    displacement = sitk.GetArrayFromImage(sitk.ReadImage(path))
job.finish(
    displacement,
    version=version("fireants"),
    settings=f"{before}GreedyRegistration({SCALES}, {STEPS}, loss_type='{loss}'), "
    "cc_kernel_size=5, on the CPU, which it is not made for",
)

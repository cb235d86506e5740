"""Greedy: affine by NMI, then compositive updates; the variant is its deformable settings."""

import os
from pathlib import Path

from job import Job

job = Job.read()
with job.stage("import"):
    from importlib.metadata import version

    import SimpleITK as sitk  # noqa: N813
    from picsl_greedy import Greedy3D

SMALLEST = 16  # voxels along the shortest side on the coarsest level


def levels(steps: str) -> str:
    """The same, with fewer levels for a small or thin image, whose coarse levels run away."""
    shortest = min(sitk.ReadImage(job.fixed).GetSize())
    kept = [n for n, _ in enumerate(steps.split("x")) if shortest / 2**n >= SMALLEST]
    return "x".join(steps.split("x")[: max(1, len(kept))])


silence = Path(os.devnull).open("w")  # noqa: SIM115
greedy = Greedy3D()
settings = []


def call(arguments: str) -> None:
    command = f"-threads {job.threads} {arguments}"
    settings.append(command)
    greedy.execute(command.format(**paths), out=silence, err=silence)


paths = {
    "F": job.fixed,
    "M": job.moving,
    "A": f"{job.out}/affine.mat",
    "W": f"{job.out}/warp.nii.gz",
    "T": f"{job.out}/total.nii",
}
start, chain = "", "{W}"
if job.linear != "none":
    freedom = {"rigid": 6, "affine": 12}[job.linear]
    with job.stage("linear"):
        steps = levels("100x50x10")
        call(f"-a -dof {freedom} -m NMI -ia-image-centers -i {{F}} {{M}} -n {steps} -o {{A}}")
    start, chain = "-it {A} ", "{W} {A}"
with job.stage("deformable"):
    options, steps = job.variant.split(" -n ")
    call(f"{options} -n {levels(steps)} -i {{F}} {{M}} {start}-o {{W}}")
spoken = "; ".join(f"greedy {command}" for command in settings)
with job.stage("export"):
    call(f"-rf {{F}} -rc {{T}} -r {chain}")
    total = sitk.GetArrayFromImage(sitk.ReadImage(paths["T"]))
job.finish(total, version=version("picsl-greedy"), settings=spoken)

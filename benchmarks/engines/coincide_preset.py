"""Coincide: the variant is its preset, `recommended` the one for the anatomy."""

from job import Job

job = Job.read()
with job.stage("import"):
    import torch

    import coincide as co
    from coincide.kernels.memory import keep_memory
    from coincide.presets.preset import preset as find_preset
    from coincide.presets.preset import read_ways
    from coincide.register import register
    from coincide.registry import Ways
    from coincide.transforms.linear import Linear

    keep_memory()  # as the command line does

preset = job.preset if job.variant == "recommended" else job.variant
# where the images are aligned already, the deformation alone is compared
parts = [one for one in read_ways(find_preset(preset).ways) if not isinstance(one, Linear)]
ways = None if job.linear != "none" else Ways(parts)
with job.stage("register"):
    result = register(job.fixed, job.moving, ways, preset=preset, device="cpu")
aligned = {"rigid", "affine"}
for name, seconds in result.seconds.items():
    stage = "linear" if name in aligned else name if name in ("read", "inverse") else "deformable"
    job.seconds[stage] = job.seconds.get(stage, 0.0) + seconds
# what the stages do not account for
job.seconds["register"] -= sum(result.seconds.values())
with job.stage("export"), torch.no_grad():
    displacement = result.alignment.displacement[0].numpy()
    lps = displacement * [[[[-1]]], [[[-1]]], [[[1]]]]
said = None if ways is None else str(ways)
job.finish(
    lps.transpose(3, 2, 1, 0),
    version=co.__version__,
    settings=f"keep_memory(); co.register(fixed, moving, {said!r}, preset={preset!r})",
)

"""Coincide brings images of the same anatomy into one coordinate system."""

import gc
import os

# torch and numba each have a pool of threads; one that spins while it waits for work would hold the
# cores that the other needs. Both read this once, when they are first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# both use as many threads as this says, so that no call has to set a number for the whole process
if "OMP_NUM_THREADS" in os.environ:
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
# importing makes many objects that stay; looking for garbage among them takes a quarter of the time
_COLLECTING = gc.isenabled()
gc.disable()
try:
    from coincide.alignment import Alignment
    from coincide.files.itk import read_transform, write_transform
    from coincide.files.read import read_image, read_labels
    from coincide.files.write import write_image
    from coincide.optimisers.level import Level
    from coincide.optimisers.loop import LEVELS, optimise
    from coincide.output import save
    from coincide.presets.preset import PRESETS, Preset
    from coincide.record import load
    from coincide.register import register
    from coincide.registration import Registration
    from coincide.registry import build
    from coincide.report.page import write_report
    from coincide.scan import Scan
    from coincide.scores.evaluate import evaluate
    from coincide.space.grid import Grid
    from coincide.space.image import Image
    from coincide.warp import warp, warp_points
finally:
    if _COLLECTING:
        gc.enable()

__all__ = [
    "LEVELS",
    "PRESETS",
    "Alignment",
    "Grid",
    "Image",
    "Level",
    "Preset",
    "Registration",
    "Scan",
    "build",
    "evaluate",
    "load",
    "optimise",
    "read_image",
    "read_labels",
    "read_transform",
    "register",
    "save",
    "warp",
    "warp_points",
    "write_image",
    "write_report",
    "write_transform",
]
__version__ = "0.1.0"

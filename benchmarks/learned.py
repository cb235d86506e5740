"""Predictors on hippocampi: overlap, folding and time on pairs of subjects that none has seen.

    python benchmarks/learned.py shared/data/hippocampus_t1 model.safetensors
    python benchmarks/learned.py shared/data/hippocampus_t1 model.safetensors --refine 50

The subjects held out are those of `coincide train FOLDER --labels _T1=_label --validation 40`; a
hundred of their pairs are scored, the middles of both images on each other.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from coincide.alignment import Alignment
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.predictors.model import load_model
from coincide.scores.overlap import overlap
from coincide.scores.surface import surface
from coincide.training.cases import find_cases
from coincide.training.subjects import read_subjects
from coincide.transforms.velocity import Velocity

HELD, PAIRS = 40, 100
REFINED = "lncc(radius=2, floor=0.001) + ngf + 0.1*diffusion"


def main() -> None:
    """Print one line of numbers."""
    read = argparse.ArgumentParser(description=__doc__)
    read.add_argument("folder", type=Path)
    read.add_argument("model", type=Path, nargs="?")
    read.add_argument("--refine", type=int, default=0, help="steps of instance optimisation")
    read.add_argument("--objective", default=REFINED)
    read.add_argument("--pairs", type=int, default=PAIRS)
    read.add_argument("--weight", type=float, default=None)
    given = read.parse_args()
    cases = find_cases(given.folder, "_T1=_label", validation=HELD, shown=PAIRS)
    subjects = read_subjects(cases.cases, spacing=1.0, alignment="centre")
    predictor = load_model(given.model).predictor if given.model else None
    dice, distances, folded, seconds = [], [], [], []
    for pair in cases.validation[: given.pairs]:
        fixed, moving = (subjects.images([i]) for i in pair)
        begin = time.process_time()
        if predictor is None:
            half = fixed.grid.shrink((2,) * 3)
            found = Velocity(field=torch.zeros(1, 3, *half.shape), grid=half)
        else:
            with torch.no_grad():
                found = predictor(fixed, moving, given.weight)
        if given.refine:
            # on the voxels of the prediction, half as fine as those of the image
            found.spacing = 2.0
            level = Level(
                0.0, given.refine, 0.0, objective=given.objective, optimiser="adam(rate=0.2)"
            )
            found = optimise(fixed, moving, found, levels=[level]).transform
        seconds.append(time.process_time() - begin)
        with torch.no_grad():
            alignment = Alignment(fixed, moving, found)
            one, other = (subjects.label_maps([i]) for i in pair)
            assert one is not None
            assert other is not None
            warped = alignment.pull(other, interpolation="label").numpy()
            dice.append(overlap(one.numpy(), warped).mean_dice)
            folded.append(100 * float((alignment.jacobian <= 0).float().mean()))
            distances.append(np.mean([*surface(one.numpy(), warped, one.grid).hd95_mm.values()]))
    told = {
        "pairs": len(dice),
        "dice": round(float(np.mean(dice)), 4),
        "sd": round(float(np.std(dice)), 4),
        "hd95_mm": round(float(np.nanmean(distances)), 3),
        "folding_percent": round(float(np.mean(folded)), 4),
        "cpu_ms": round(1000 * float(np.median(seconds)), 1),
        "parameters": sum(p.numel() for p in predictor.parameters()) if predictor else 0,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()

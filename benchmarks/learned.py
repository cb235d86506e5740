"""Predictors on hippocampi: overlap, distance, folding and time on pairs that none has seen.

    python benchmarks/learned.py shared/data/hippocampus_t1 --model mine.safetensors
    python benchmarks/learned.py shared/data/hippocampus_t1 --model mine.safetensors --refine 50
    python benchmarks/learned.py shared/data/hippocampus_t1 --ways "affine >> displacement"
    python benchmarks/learned.py shared/data/hippocampus_t1 --list

The subjects held out are those of `coincide train FOLDER --labels _T1=_label --validation 40`,
whatever its seed; a hundred of their pairs are scored, the middles of both images on each other.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from coincide.alignment import Alignment
from coincide.optimisers.level import Level
from coincide.optimisers.loop import optimise
from coincide.predictors.model import load_model
from coincide.register import register
from coincide.scores.overlap import overlap
from coincide.scores.surface import surface
from coincide.space.image import Image
from coincide.training.cases import Cases, find_cases
from coincide.training.subjects import Subjects, read_subjects
from coincide.transforms.transform import Transform
from coincide.transforms.velocity import Velocity

HELD, PAIRS = 40, 100
REFINED = "lncc(radius=2, floor=0.001) + ngf + 0.1*diffusion"


def main() -> None:
    """Print one line of numbers."""
    given = _read()
    cases = find_cases(given.folder, "_T1=_label", validation=HELD, shown=PAIRS)
    if given.list:
        print("\n".join(cases.held))
        return
    subjects = read_subjects(cases.cases, spacing=1.0, alignment="centre")
    predictor = load_model(given.model).predictor if given.model else None
    told = scored(
        cases,
        subjects,
        lambda fixed, moving: _found(fixed, moving, predictor, given),
        given.pairs,
    )
    told["parameters"] = sum(p.numel() for p in predictor.parameters()) if predictor else 0
    print(json.dumps(told))


def scored(
    cases: Cases, subjects: Subjects, found: Callable[[Image, Image], Transform], pairs: int = PAIRS
) -> dict[str, float]:
    """Overlap, distance, folding and time of pairs held out.

    Args:
        cases: Whose validation pairs are taken.
        subjects: Their images and labels.
        found: The transform of a fixed and a moving image.
        pairs: How many, from the first.
    """
    dice, distances, folded, seconds = [], [], [], []
    for pair in cases.validation[:pairs]:
        fixed, moving = (subjects.images([i]) for i in pair)
        begin = time.process_time()
        transform = found(fixed, moving)
        seconds.append(time.process_time() - begin)
        with torch.no_grad():
            alignment = Alignment(fixed, moving, transform)
            one, other = (subjects.label_maps([i]) for i in pair)
            assert one is not None
            assert other is not None
            warped = alignment.pull(other, interpolation="label").numpy()
            dice.append(overlap(one.numpy(), warped).mean_dice)
            folded.append(100 * float((alignment.jacobian <= 0).float().mean()))
            distances.append(np.mean([*surface(one.numpy(), warped, one.grid).hd95_mm.values()]))
    return {
        "pairs": len(dice),
        "dice": round(float(np.mean(dice)), 4),
        "sd": round(float(np.std(dice)), 4),
        "hd95_mm": round(float(np.nanmean(distances)), 3),
        "folding_percent": round(float(np.mean(folded)), 4),
        "cpu_ms": round(1000 * float(np.median(seconds)), 1),
    }


def _read() -> argparse.Namespace:
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    read.add_argument("folder", type=Path)
    read.add_argument("--model", type=Path)
    read.add_argument("--weight", type=float, help="of a conditional model")
    read.add_argument("--refine", type=int, default=0, help="steps of instance optimisation")
    read.add_argument("--objective", default=REFINED, help="of these steps")
    read.add_argument("--ways", help="register by these instead, preset small")
    read.add_argument("--pairs", type=int, default=PAIRS)
    read.add_argument("--list", action="store_true", help="the images held out, and stop")
    return read.parse_args()


def _found(
    fixed: Image, moving: Image, predictor: torch.nn.Module | None, given: argparse.Namespace
) -> Transform:
    """The transform of a pair: registered, predicted, or none; and perhaps refined."""
    if given.ways:
        return register(fixed, moving, given.ways, preset="small").transform
    if predictor is None:
        half = fixed.grid.shrink((2,) * 3)
        found: Transform = Velocity(field=torch.zeros(1, 3, *half.shape), grid=half)
    else:
        with torch.no_grad():
            found = predictor(fixed, moving, given.weight)
    if given.refine:
        # on the voxels of the prediction, twice as large as those of the image
        found.spacing = 2.0  # type: ignore[assignment]
        level = Level(0.0, given.refine, 0.0, objective=given.objective, optimiser="adam(rate=0.2)")
        found = optimise(fixed, moving, found, levels=[level]).transform
    return found


if __name__ == "__main__":
    main()

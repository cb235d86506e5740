"""The package voxelmorph, trained on the hippocampi and scored as our predictors are.

    pip install voxelmorph
    python benchmarks/voxelmorph_peer.py shared/data/hippocampus_t1 --minutes 19

Its `VxmPairwise` as it comes, its mean squares and its gradient penalty; the subjects, the pairs
held out, the grey values and the scores are those of `benchmarks/learned.py`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import voxelmorph as vxm
from learned import HELD, PAIRS, scored
from neurite.nn.modules import MSE, NCC, SpatialGradient
from torch.nn import functional as F  # noqa: N812

from coincide.space.grid import Grid, transform_vectors
from coincide.space.image import Image
from coincide.training.cases import find_cases
from coincide.training.subjects import read_subjects
from coincide.transforms.displacement import Displacement

MULTIPLE = 32  # five times halved
BATCH = 2


def main() -> None:
    """Train, and print one line of numbers."""
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    read.add_argument("folder", type=Path)
    read.add_argument("--minutes", type=float, default=19.0, help="of the processor")
    read.add_argument("--loss", choices=("mse", "ncc"), default="mse")
    read.add_argument("--smooth", type=float, default=0.02, help="weight of the penalty")
    read.add_argument("--rate", type=float, default=1e-3)
    read.add_argument("--seed", type=int, default=0)
    given = read.parse_args()
    cases = find_cases(given.folder, "_T1=_label", validation=HELD, shown=PAIRS)
    subjects = read_subjects(cases.cases, spacing=1.0, alignment="centre")
    torch.manual_seed(given.seed)
    network = vxm.nn.models.VxmPairwise(ndim=3, source_channels=1, target_channels=1)
    steps, seconds = train(network, cases, subjects, given)

    def found(fixed: Image, moving: Image) -> Displacement:
        with torch.no_grad():
            field = network(padded(moving.data), padded(fixed.data))
        return in_world(field, fixed.grid)

    told = scored(cases, subjects, found)
    told |= {"steps": steps, "training_cpu_min": round(seconds / 60, 1)}
    told["parameters"] = sum(p.numel() for p in network.parameters())
    print(json.dumps(told))


def train(network, cases, subjects, given) -> tuple[int, float]:
    """Lower its losses on random pairs until time is up; steps and seconds."""
    rule = torch.optim.Adam(network.parameters(), lr=given.rate)
    alike = MSE() if given.loss == "mse" else NCC()
    smooth, random = SpatialGradient("l2"), np.random.default_rng(given.seed)
    begin, step = time.process_time(), 0
    while time.process_time() - begin < 60 * given.minutes:
        chosen = [cases.training[n] for n in random.integers(0, len(cases.training), BATCH)]
        fixed, moving = (padded(subjects.images(which).data) for which in zip(*chosen, strict=True))
        field, warped = network(moving, fixed, return_warped_source=True)
        cost = alike(warped, fixed) + given.smooth * smooth(field)
        rule.zero_grad()
        cost.backward()
        rule.step()
        step += 1
    return step, time.process_time() - begin


def padded(data: torch.Tensor) -> torch.Tensor:
    """Up to sizes that its network can halve."""
    more = [-n % MULTIPLE for n in data.shape[2:]]
    return F.pad(data, [n for size in reversed(more) for n in (0, size)], mode="replicate")


def in_world(field: torch.Tensor, grid: Grid) -> Displacement:
    """Its displacement in voxels, (1, 3, *padded), as a transform in mm."""
    within = field[(..., *(slice(n) for n in grid.shape))]
    vectors = transform_vectors(grid.direction * grid.spacing, within)
    return Displacement(field=vectors, grid=grid)


if __name__ == "__main__":
    main()

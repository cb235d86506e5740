"""Fields of the classical engine to train on: transforms of random pairs, and a table of them.

    python benchmarks/fields.py shared/data/hippocampus_t1 --out fields --pairs 60
    coincide train fields/pairs.csv --objective field --align centre --out mine.safetensors

Of each pair both directions are written, as the engine gives both. No subject is in two pairs, and
none of those that `benchmarks/learned.py` scores is in any. What is there already is kept.
"""

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from coincide.files.itk import write_transform
from coincide.register import register
from coincide.training.case import Case
from coincide.training.cases import find_cases

HELD = 40  # subjects that are scored and therefore not registered
COLUMNS = ("fixed", "moving", "fixed_labels", "moving_labels", "transform")


def main() -> None:
    """Register pairs and list them."""
    read = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    read.add_argument("folder", type=Path)
    read.add_argument("--out", type=Path, required=True)
    read.add_argument("--pairs", type=int, default=60)
    given = read.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    cases = find_cases(given.folder, "_T1=_label", validation=HELD)
    kept = [case for case in cases.cases if case.image.name not in cases.held]
    order = np.random.default_rng(0).permutation(len(kept))[: 2 * given.pairs].reshape(-1, 2)
    rows, begin = [], time.process_time()
    for number, (one, other) in enumerate(order):
        rows += _pair(kept[one], kept[other], given.out, f"{number:03d}")
    with (given.out / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{len(rows)} rows after {time.process_time() - begin:.0f} s of CPU")


def _pair(fixed: Case, moving: Case, out: Path, name: str) -> list[tuple[Path | str, ...]]:
    """Rows of both directions of a pair."""
    files = [f"{name}_{way}.h5" for way in ("there", "back")]
    if not all((out / file).exists() for file in files):
        found = register(fixed.image, moving.image, preset="small")
        write_transform(found.transform, out / files[0], grid=found.fixed.grid)
        write_transform(found.inverse, out / files[1], grid=found.moving.grid)
    sides = [(case.image.resolve(), (case.labels or Path()).resolve()) for case in (fixed, moving)]
    return [
        (one[0], other[0], one[1], other[1], file)
        for (one, other), file in zip((sides, sides[::-1]), files, strict=True)
    ]


if __name__ == "__main__":
    main()

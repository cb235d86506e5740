"""Atlas of slices: unseen people from half of their voxels, beside the nearest of those known.

    python benchmarks/atlas_slices.py slices.npz --steps 600

The file holds `image` and `label`, (N, X, Y) each, and `index`, which person each slice shows;
no ages. The last fifth of the people is left out of the training.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.training.atlas import AtlasRecipe, AtlasTask, Person, fitted, tissue_dice
from coincide.training.loop import Schedule, train

SPACING = 4.0  # mm, of voxels of 1 mm
AGE = 0.5  # of everybody, since nobody's is known


def person(image: np.ndarray, label: np.ndarray) -> Person:
    """A slice with voxels of 4 mm, intensities from 0 to 1."""
    values = image.astype(np.float32) / max(1.0, float(np.quantile(image[image > 0], 0.99)))
    fine, labels = Image.from_array(values), Image.from_array(label)
    grid = fine.grid.shrink(fine.grid.factors(SPACING))
    return Person(at(fine, grid), at(labels, grid), AGE)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("slices", type=Path)
    asked.add_argument("--steps", type=int, default=600)
    given = asked.parse_args()
    held = np.load(given.slices)
    numbers = np.unique(held["index"])
    last = numbers[-(len(numbers) // 5) :]
    everyone = [person(i, k) for i, k in zip(held["image"], held["label"], strict=True)]
    unseen = [p for p, n in zip(everyone, held["index"], strict=True) if n in last]
    known = [p for p, n in zip(everyone, held["index"], strict=True) if n not in last]
    tissues = int(held["label"].max()) + 1
    task = AtlasTask(known, tissues, AtlasRecipe(latent=16, omega=20.0))
    with tempfile.TemporaryDirectory() as folder:
        schedule = Schedule(steps=given.steps, rate=2e-3, average=0.95, validated=10**6, warm=20)
        network = train(task, schedule, Path(folder), watch=lambda _: None)
    found, control = [], []
    for one in unseen:
        labels = fitted(network.atlas, one.image).labels
        found.append(tissue_dice(labels, one.labels, tissues))
        near = min(known, key=lambda p: float((p.image.data - one.image.data).square().mean()))
        control.append(tissue_dice(near.labels, one.labels, tissues))
    print(f"{len(known)} known, {len(unseen)} unseen slices, {tissues - 1} tissues")
    print(f"atlas {np.mean(found):.3f}, nearest {np.mean(control):.3f} mean Dice")


if __name__ == "__main__":
    main()

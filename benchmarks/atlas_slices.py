"""Atlas of slices: unseen people from half of their voxels, beside the nearest of those known.

    python benchmarks/atlas_slices.py slices.npz --steps 300

The file holds `image` and `label`, (N, X, Y) each, and `index`, which person each slice shows. The
last fifth of the people is left out of the training. Nobody's age is known; what stands in for it
is the rank of the share of white matter in the brain of the slice, which grows in childhood, from
0 to 1 among those known.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from coincide.space.image import Image
from coincide.space.pyramid import at
from coincide.training.atlas import AtlasRecipe, AtlasTask, Person, fitted, tissue_dice
from coincide.training.loop import Schedule, train

SPACING = 4.0  # mm, of voxels of 1 mm
CORTEX, WHITE = 2, 3  # labels
SHARE = 0.5  # of the voxels that are looked at


def share(label: np.ndarray) -> float:
    """Of white matter among cortex and white matter."""
    white, cortex = (float((label == one).sum()) for one in (WHITE, CORTEX))
    return white / max(1.0, white + cortex)


def person(image: np.ndarray, label: np.ndarray, age: float) -> Person:
    """A slice with voxels of 4 mm, intensities from 0 to 1."""
    values = image.astype(np.float32) / max(1.0, float(np.quantile(image[image > 0], 0.99)))
    fine, labels = Image.from_array(values), Image.from_array(label)
    grid = fine.grid.shrink(fine.grid.factors(SPACING))
    return Person(at(fine, grid), at(labels, grid), age)


def divided(
    images: np.ndarray, labels: np.ndarray, index: np.ndarray
) -> tuple[list[Person], list[Person]]:
    """Who is trained on, and who is not, by person; each with the age that stands in."""
    numbers = np.unique(index)
    held = np.isin(index, numbers[-(len(numbers) // 5) :])
    shares = np.array([share(label) for label in labels])
    among = np.sort(shares[~held])
    ages = np.searchsorted(among, shares) / len(among)
    everyone = [person(*one) for one in zip(images, labels, ages.tolist(), strict=True)]
    unseen = [one for one, out in zip(everyone, held, strict=True) if out]
    return [one for one, out in zip(everyone, held, strict=True) if not out], unseen


def nearest(one: Person, known: list[Person]) -> Person:
    """Whose image differs least, on the same half of the voxels."""
    size = one.image.data.numel()
    chosen = torch.randperm(size, generator=torch.Generator().manual_seed(0))[: int(SHARE * size)]

    def apart(other: Person) -> float:
        gap = (other.image.data - one.image.data).flatten()[chosen]
        return float(gap.square().mean())

    return min(known, key=apart)


def compared(
    known: list[Person], unseen: list[Person], recipe: AtlasRecipe, *, steps: int, looked: int
) -> dict[str, tuple[float, float]]:
    """Mean Dice of tissues, and mean error of age, of the atlas and of what it is compared with.

    Args:
        known: Who is trained on.
        unseen: Who is looked for.
        recipe: Of the atlas.
        steps: Of the training.
        looked: Steps of looking for a person.
    """
    tissues = 1 + max(int(p.labels.data.max()) for p in known)
    task = AtlasTask(known, tissues, recipe)
    with tempfile.TemporaryDirectory() as folder:
        schedule = Schedule(steps=steps, rate=2e-3, average=0.95, validated=10**6, warm=20)
        network = train(task, schedule, Path(folder), watch=lambda _: None)
    middle = float(np.mean([p.age for p in known]))
    found: dict[str, list[tuple[float, float]]] = {"atlas": [], "nearest": [], "mean age": []}
    for one in unseen:
        told = fitted(network.atlas, one.image, share=SHARE, steps=looked)
        near = nearest(one, known)
        for name, labels, age in (
            ("atlas", told.labels, told.age),
            ("nearest", near.labels, near.age),
        ):
            found[name].append((tissue_dice(labels, one.labels, tissues), abs(age - one.age)))
        found["mean age"].append((float("nan"), abs(middle - one.age)))
    return {name: tuple(np.mean(values, 0).tolist()) for name, values in found.items()}


def main() -> None:
    asked = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument("slices", type=Path)
    asked.add_argument("--steps", type=int, default=300)
    asked.add_argument("--looked", type=int, default=60)
    asked.add_argument("--points", type=int, default=2048)
    given = asked.parse_args()
    held = np.load(given.slices)
    known, unseen = divided(held["image"], held["label"], held["index"])
    begin = time.process_time()
    recipe = AtlasRecipe(latent=16, omega=20.0, points=given.points)
    told = compared(known, unseen, recipe, steps=given.steps, looked=given.looked)
    print(f"{len(known)} known, {len(unseen)} unseen slices, {time.process_time() - begin:.0f} s")
    for name, (dice, age) in told.items():
        overlap = f"Dice {dice:.3f}, " if np.isfinite(dice) else ""
        print(f"{name}: {overlap}age error {age:.3f} of 1")


if __name__ == "__main__":
    main()

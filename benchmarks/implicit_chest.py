"""Chest: one pair of lung CT with ten landmarks, and what a map of it scores."""

import csv
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from implicit_rows import Folders

import coincide as co
from coincide.foreground import foreground
from coincide.optimisers.level import Level
from coincide.optimisers.optimise import Optimise
from coincide.scores.mapped import mapped
from coincide.scores.regularity import regularity
from coincide.space.image import Image
from coincide.transforms.composite import Composite
from coincide.transforms.cycle import Cycle
from coincide.transforms.transform import Transform
from coincide.way import Pair

WINDOW = (-1000.0, 500.0)  # Hounsfield units, as in the preset `lung-ct`
MARGIN = 10.0  # mm
DOUBTED = 5000  # places where uncertainty is asked
MISMARKED = (8, 9)  # landmarks that very likely lie slices beside their place


@dataclass(frozen=True, eq=False)
class Chest:
    """A pair on its way, as `register` has it after the linear alignment.

    Args:
        pair: Both foregrounds, the start frozen into `outer`.
        scan: Fixed image with its lung mask, whole.
        points: Landmarks of both, (2, P, D), world RAS+, mm.
    """

    pair: Pair
    scan: Image
    points: np.ndarray

    @cached_property
    def images(self) -> tuple[Image, Image]:
        """What a deformation works on."""
        return self.pair.images

    def fitted(self, transform: str | Transform, levels: tuple[Level, ...]) -> Transform:
        """A deformation on top of the start, and the start."""
        found = Optimise(transform, levels)(self.pair).transform
        return found if self.pair.outer is None else self.pair.outer @ found

    def errors(self, transform: Transform) -> np.ndarray:
        """Of each landmark, mm."""
        return np.linalg.norm(mapped(transform, self.points[0]) - self.points[1], axis=1)

    def doubt(self, transform: Transform) -> float | None:
        """Mean uncertainty at voxels from all over the lungs, mm; None: it knows none."""
        first = list(transform)[-1] if isinstance(transform, Composite) else transform
        if not isinstance(first, Cycle):
            return None
        index = np.argwhere(self.scan.weight()[0, 0].numpy() > 0)
        index = index[:: max(1, len(index) // DOUBTED)]
        points = torch.as_tensor(self.scan.grid.to_world(index), dtype=torch.float32)[None]
        return float(first.uncertainty(points).mean())

    def scored(self, transform: Transform) -> dict[str, float]:
        """Landmark errors, mm, and folding inside the lungs, %."""
        error = self.errors(transform)
        with torch.no_grad():
            field = transform.displacement(self.scan.grid)
        folded = regularity(field, self.scan.grid, self.scan.weight()).folding_percent
        told = {
            "mean of ten": error.mean(),
            "without 8 and 9": np.delete(error, MISMARKED).mean(),
            "median": np.median(error),
            "folding, %": folded,
        }
        return {name: round(float(value), 4) for name, value in told.items()}


def chest(folders: Folders, start: str, *, masked: bool = True) -> Chest:
    """The pair from a start, which is found once and kept.

    Args:
        folders: Where the images are.
        start: `affine` or `translation` of the lungs, or `affine of all`, `translation of all`:
            of the whole chest, from farther off.
        masked: Whether the deformation looks at the lungs alone.
    """
    room = folders.data / "lung_ct"
    with (room / "elx_landmarks.csv").open() as file:
        rows = list(csv.DictReader(file))
    sides = ("baseline", "followup")
    lps = np.array([[[float(r[f"{s}_{c}_lps"]) for c in "xyz"] for r in rows] for s in sides])
    mask = co.read_image(room / "elx_baseline_lungmask.nii.gz").data > 0
    scan = co.read_image(room / "elx_baseline_CT.nii.gz").with_mask(mask.float())
    moving = co.read_image(room / "elx_followup_CT.nii.gz")
    kept = folders.work / f"chest-{start}.h5".replace(" ", "-")
    if not kept.exists():
        folders.work.mkdir(parents=True, exist_ok=True)
        kind, _, whole = start.partition(" ")
        fixed = scan.with_mask(None) if whole else scan
        found = co.register(fixed, moving, kind, preset="lung-ct", device="cpu").transform
        co.write_transform(found, kept)
    seen = scan if masked else scan.with_mask(None)
    pair = Pair(_shown(seen, "fixed"), _shown(moving, "moving"))
    pair = pair.under(co.read_transform(kept))
    return Chest(pair, scan, lps * np.array([-1.0, -1.0, 1.0]))


def _shown(image: Image, name: str):
    image = image.float()
    return foreground(image.with_data(image.data.clamp(*WINDOW)), margin=MARGIN, name=name)

"""Retrieval: is a place of one contrast found again in another, by its descriptor alone?

    python benchmarks/retrieval.py [--weights FILE ...]

Of two aligned images of one person, voxels on edges are looked for in a cube of ±5 voxels about
their true place. What is counted is how often the most similar descriptor lies within one voxel.
Rivals are smoothed as well, since smoothing alone is worth a third.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

import coincide as co
from coincide.kernels.smooth import gaussian
from coincide.registry import build
from coincide.space.image import Image
from coincide.transforms.jacobian import gradient

CUBE, COUNT = 5, 800
CHANCE = {"Chebyshev": 100 * 27 / 11**3, "Euclidean": 100 * 7 / 11**3}
RIVALS = ("mind_ssc(radius=1)", "mind_ssc(radius=2)", "mind(radius=1)", "dns(sigma=0)", "ngf")
SMOOTH = (0.0, 0.8, 1.2)


@dataclass(frozen=True)
class Found:
    """Percent found within one voxel."""

    chebyshev: float
    euclidean: float

    def __str__(self) -> str:
        return f"{self.euclidean:.0f}/{self.chebyshev:.0f}"


def pairs(data: Path) -> dict[str, tuple[Image, Image]]:
    """Aligned images of one person, or averages of many, by name."""
    room, mni = data / "brain_multimodal_ms", data / "brain_templates_mni"
    known = {
        "MNI T1-T2": (mni / "MNI152_T1_1mm_brain.nii.gz", mni / "MNI152_T2_1mm_brain.nii.gz"),
        "MS07 T1-T2": (room / "ms07_T1.nii.gz", room / "ms07_T2.nii.gz"),
        "MS07 T1-FLAIR": (room / "ms07_T1.nii.gz", room / "ms07_FLAIR.nii.gz"),
        "MS19 T1-T2": (room / "ms19_T1.nii.gz", room / "ms19_T2.nii.gz"),
        "MS19 T1-FLAIR": (room / "ms19_T1.nii.gz", room / "ms19_FLAIR.nii.gz"),
        "T1-CT": (mni / "spm_T1.nii.gz", mni / "clinical_CT.nii.gz"),
        "T1-PET": (mni / "spm_T1.nii.gz", mni / "spm_PET.nii.gz"),
        "T1-EPI": (mni / "spm_T1.nii.gz", mni / "spm_EPI.nii.gz"),
    }
    return {
        name: (co.read_image(one), co.read_image(other))
        for name, (one, other) in known.items()
        if one.exists() and other.exists()
    }


def retrieval(fixed: Image, moving: Image, points: torch.Tensor) -> Found:
    """How often points (P, 3) of the fixed features are found again in the moving ones."""
    axis = torch.arange(-CUBE, CUBE + 1)
    steps = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).flatten(0, 2)
    wanted = fixed.data[(0, slice(None), *points.T)].T
    near, touching = [], []
    for some, place in zip(wanted.split(50), points.split(50), strict=True):
        around = (place[:, None] + steps).unbind(-1)
        there = moving.data[(0, slice(None), *around)]  # (C, P, K)
        best = (there - some.T[:, :, None]).square().sum(0).argmin(1)
        near.append((steps[best].abs().amax(1) <= 1).float())
        touching.append((steps[best].square().sum(1) <= 1).float())
    return Found(*(100 * float(torch.cat(hits).mean()) for hits in (near, touching)))


def on_edges(image: Image, seed: int = 0) -> torch.Tensor:
    """Voxels among the steepest fifth of what is shown, far enough from the border, (P, 3)."""
    data = image.data
    slope = gradient(gaussian(data, [0.8] * 3), image.grid)[:, 0].norm(dim=1)[0]
    inside = torch.zeros_like(slope, dtype=torch.bool)
    margin = slice(CUBE + 3, -CUBE - 3)
    inside[margin, margin, margin] = True
    shown = inside & (data[0, 0] > 0.1 * data.max())
    steep = shown & (slope > slope[shown].quantile(0.8) if int(shown.sum()) < 2**24 else shown)
    index = steep.nonzero()
    chosen = np.random.default_rng(seed).choice(len(index), min(COUNT, len(index)), replace=False)
    return index[torch.from_numpy(chosen)]


def smoothed(image: Image, sigma: float, *, unit: bool) -> Image:
    """The features under a Gaussian, of length 1 again where they were."""
    data = gaussian(image.data, [sigma] * image.dim)
    return image.with_data(F.normalize(data, dim=1) if unit else data)


def table(named: dict[str, str], data: Path) -> dict[str, dict[str, Found]]:
    """What each descriptor finds on each pair; the best smoothing of a rival counts."""
    found: dict[str, dict[str, Found]] = {}
    for pair, (fixed, moving) in pairs(data).items():
        points = on_edges(fixed)
        for name, text in named.items():
            learned = text.startswith("structural")
            similarity = build(text)
            one, other = similarity.prepared(fixed, moving)
            tried = [
                retrieval(smoothed(one, s, unit=learned), smoothed(other, s, unit=learned), points)
                for s in ((0.0,) if learned else SMOOTH)
            ]
            found.setdefault(name, {})[pair] = max(tried, key=lambda each: each.chebyshev)
    return found


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", nargs="*", default=[""], help="files; none: the shipped ones")
    parser.add_argument("--data", type=Path, default=os.environ.get("COINCIDE_DATA"))
    given = parser.parse_args()
    named = {text: text for text in RIVALS}
    for path in given.weights:
        named[f"structural {Path(path).stem}".strip()] = f"structural(weights={path!r})"
    found = table(named, Path(given.data))
    columns = list(next(iter(found.values())))
    print(f"| descriptor | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |")
    print(f"\nEuclidean/Chebyshev, %; chance {CHANCE['Euclidean']:.1f}/{CHANCE['Chebyshev']:.1f}")


if __name__ == "__main__":
    main()

"""Batches: the pairs of a step as a network is shown them, with all that its loss compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.synthetic.noise import uniform
from coincide.training.augment import moved
from coincide.training.cases import Places
from coincide.training.known import Known
from coincide.training.simulated import simulated
from coincide.training.subjects import Subjects
from coincide.transforms.displacement import Displacement

BINS = 10  # of lengths of displacement
LONG = 0.95  # quantile from which lengths count alike, so that a far corner does not decide
Rows = list[tuple[np.ndarray, np.ndarray] | None]  # points of each pair; None: it has none


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pairs.

    Args:
        fixed: (B, 1, *S).
        moving: The same.
        data: What terms of the objective compare beside the images, by their name.
    """

    fixed: Image
    moving: Image
    data: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Batches:
    """How pairs are shown.

    Args:
        subjects: All images.
        known: What else is known of pairs.
        wanted: Names of the terms of the objective that compare other data.
        points: Places of each pair at which a known field is looked at.
        augmented: How often both images of a pair are turned, stretched and shown otherwise.
        simulated: How often the moving image is made from the fixed one.
    """

    subjects: Subjects
    known: Known
    wanted: Sequence[str]
    points: int = 1024
    augmented: float = 0.0
    simulated: float = 0.0

    def drawn(
        self, chosen: Sequence[Places], random: torch.Generator, device: str | torch.device
    ) -> Batch:
        """Some pairs, by their places among the subjects."""
        augmented = uniform(random, 0, 1) < self.augmented
        made_up = self.simulated > 0 and uniform(random, 0, 1) < self.simulated
        images = [self.subjects.images([pair[side] for pair in chosen]) for side in range(2)]
        maps = [self._maps([pair[side] for pair in chosen]) for side in range(2)]
        fields = [self.known.fields.get(pair) for pair in chosen]
        rows: dict[str, Rows] = {"landmarks": [self.known.points.get(pair) for pair in chosen]}
        if made_up:
            images[1], maps[1], made = simulated(images[0], maps[0], random)
            fields = list(made.split(1))
            rows["landmarks"] = [
                None if both is None else _sent(both[0], field, images[0].grid)
                for both, field in zip(rows["landmarks"], fields, strict=True)
            ]
        if "field" in self.wanted:
            rows["field"] = [
                None if field is None else self._places(images[0].pair(b), field, random)
                for b, field in enumerate(fields)
            ]
        if augmented:
            for side in range(2):
                images[side], maps[side], matrices = moved(images[side], maps[side], random)
                for name, both in rows.items():
                    rows[name] = [_turned(r, side, a) for r, a in zip(both, matrices, strict=True)]
        data: dict[str, tuple[Any, Any]] = {
            name: stacked(rows[name], self.subjects.grid.dim)
            for name in ("landmarks", "field")
            if name in self.wanted
        }
        if maps[0] is not None and maps[1] is not None:
            data["labels"] = maps[0].to(device), maps[1].to(device)
        return Batch(images[0].to(device), images[1].to(device), data)

    def _maps(self, which: Sequence[int]) -> Image | None:
        return self.subjects.label_maps(which) if "labels" in self.wanted else None

    def _places(
        self, fixed: Image, field: Tensor, random: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Voxels drawn from the foreground, and where the field sends them, mm."""
        voxels = balanced(field[0].float(), fixed.weight()[0, 0], self.points, random)
        index = np.stack(np.unravel_index(voxels.numpy(), fixed.grid.shape), -1)
        here = fixed.grid.to_world(index)
        return here, here + field[0].flatten(1)[:, voxels].T.double().numpy()


def balanced(field: Tensor, weight: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Voxels, half drawn evenly, half so that all lengths of the displacement are as frequent.

    Args:
        field: (D, *S), mm.
        weight: (*S), voxels that may be drawn above 0.
        count: How many.
        random: Which.

    Returns:
        (count,) places in the flat image.

    References:
        Cao et al. (2017), doi:10.1007/978-3-319-66182-7_35.
    """
    inside = (weight.flatten() > 0).nonzero()[:, 0]
    even = torch.randint(len(inside), (count - count // 2,), generator=random)
    length = field.flatten(1)[:, inside].norm(dim=0)
    long = length.sort().values[int(LONG * (len(length) - 1))].clamp_min(1e-6)
    bins = (BINS * length / long).long().clamp_max(BINS - 1)
    share = 1 / bins.bincount(minlength=BINS).clamp_min(1)[bins].float()
    chosen = torch.multinomial(share, count // 2, replacement=True, generator=random)
    return inside[torch.cat([even, chosen])]


def stacked(rows: Rows, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a batch, (B, P, D) each, NaN where a pair has fewer."""
    most = max(1, *(0 if both is None else len(both[0]) for both in rows))
    sides = np.full((2, len(rows), most, dim), np.nan)
    for b, both in enumerate(rows):
        if both is not None:
            sides[:, b, : len(both[0])] = both
    return sides[0], sides[1]


def _sent(here: np.ndarray, field: Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Points, and where a field sends them."""
    return here, Displacement(field=field, grid=grid)(here)


def _turned(
    both: tuple[np.ndarray, np.ndarray] | None, side: int, matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Points after what was at A x is at x in the image of one side."""
    if both is None:
        return None
    back = np.linalg.inv(matrix)
    found = list(both)
    found[side] = both[side] @ back[:-1, :-1].T + back[:-1, -1]
    return found[0], found[1]

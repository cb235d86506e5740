"""Scene: everything that the viewer of the page reads of one pair."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from coincide.registration import Registration
from coincide.report.codes import Codes, shown
from coincide.report.colour import as_shown, grey
from coincide.report.deformation import arrows, displacement, volume_change
from coincide.report.lattice import coarser, facing, inside, on, spaced
from coincide.report.likeness import Likeness
from coincide.report.mosaic import mosaic
from coincide.report.overlays import confidence, landmarks, masks, organs
from coincide.space.grid import Grid
from coincide.space.image import Image
from coincide.space.sampling import resample

LONGEST = {2: 4096, 3: 512}  # voxels an axis: what a browser still holds as decoded pixels
QUALITY = {2: 95, 3: 90}  # of JPEG: after 90 a slice of 256 MR voxels is 5 kB
GLANCE = 64  # voxels an axis in which windows and the box of the content are found
COMPARED = 500_000  # voxels that the similarity before and after is counted on
WIDER = 1.4  # times the box of the fixed image that the moving one may add before
EMPTY = (0.0, 1.0), False  # of an image without a finite value
SHARED = 0.1  # of the voxels that the moving image must cover before and after


@dataclass(frozen=True, eq=False)
class Scene:
    """The images of a registration and what is drawn on them, on voxels that face the screen.

    Args:
        result: The registration, of two or three dimensions.
        longest: At most this many voxels along an axis; None: 4096 in 2-D, 512 in 3-D.
    """

    result: Registration
    longest: int | None = None

    @cached_property
    def lattice(self) -> Grid:
        """What the images contain, in whole voxels of the fixed image where not too many."""
        whole = facing(self.result.fixed.grid)
        longest = self.longest or LONGEST[whole.dim]
        return coarser(whole.crop(*self._box(whole)), longest)

    @cached_property
    def fixed(self) -> Image:
        """The fixed image as it is shown, (1, 1 or 3, *S)."""
        return as_shown(self.result.fixed, self._file("fixed"))

    @cached_property
    def moving(self) -> Image:
        """The moving image as it is shown, (1, 1 or 3, *S)."""
        return as_shown(self.result.moving, self._file("moving"))

    @cached_property
    def codes(self) -> dict[str, Codes]:
        """Bytes for the values of each image; warped is the moving image again."""
        found = {}
        for name, image, parts in (
            ("fixed", self.fixed, ("fixed",)),
            ("moving", self.moving, ("moving", "warped")),
        ):
            values = np.concatenate([self._glance[part].ravel() for part in parts])
            colour = image.data.shape[1] == 3
            found[name] = Codes.of_colour(values) if colour else Codes.of(values)
        return {**found, "warped": found["moving"]}

    @cached_property
    def pictures(self) -> dict[str, np.ndarray]:
        """Fixed, moving and warped as codes on the lattice, (C, *S) uint8 each."""
        lattice, moving = self.lattice, self.moving
        with torch.no_grad():
            warped = resample(moving, lattice, self.field)
            seen = {
                "fixed": (on(self.fixed, lattice), lambda: True),
                "moving": (on(moving, lattice), lambda: inside(moving, lattice)),
                "warped": (warped.data[0].numpy(), lambda: warped.weight().numpy()[0, 0] > 0),
            }
        found = {}
        for name, (values, within) in seen.items():
            codes = self.codes[name]
            found[name] = codes(values)
            if codes.low != 0:  # beside an image is nothing, not tissue of the value 0
                found[name] = np.where(within(), found[name], 0).astype(np.uint8)
        return found

    @cached_property
    def field(self) -> torch.Tensor:
        """Displacement on the lattice, mm, (1, D, *S)."""
        return displacement(self.result, self.lattice)

    @cached_property
    def likeness(self) -> dict[str, Likeness]:
        """How alike the fixed image is to the moving one before and after.

        Both are counted on the voxels that the moving image covers before and after. Where it
        hardly covers the fixed image before, each is counted where it covers it.
        """
        lattice = self.lattice
        few = spaced(
            lattice, lattice.spacing * max(1, lattice.voxels / COMPARED) ** (1 / lattice.dim)
        )
        with torch.no_grad():
            field = torch.from_numpy(np.ascontiguousarray(on(Image(self.field, lattice), few)))[
                None
            ]
            warped = resample(self.moving, few, field)
        covered = warped.weight().numpy()[0, 0] > 0.99
        reached = {"moving": inside(self.moving, few), "warped": covered}
        both = reached["moving"] & reached["warped"]
        if both.mean() > SHARED:
            reached = dict.fromkeys(reached, both)
        F = grey(on(self.fixed, few))
        other = {"moving": grey(on(self.moving, few)), "warped": grey(warped.data[0].numpy())}
        if self.result.fixed.mask is not None:
            mask = Image(self.result.fixed.mask[:1], self.result.fixed.grid)
            counts = on(mask, few, nearest=True)[0] > 0
            reached = {name: where & counts for name, where in reached.items()}
        return {
            when: Likeness.of(F, other[name], reached[name])
            for when, name in (("before", "moving"), ("after", "warped"))
        }

    def data(self) -> dict[str, Any]:
        """Everything the viewer reads, ready for JSON."""
        lattice, dim = self.lattice, self.lattice.dim
        missing = 3 - dim
        with torch.no_grad():
            return {
                "shape": [*lattice.shape, *[1] * missing],
                "spacing": [*lattice.spacing.tolist(), *[1.0] * missing],
                "affine": lattice.affine.tolist(),
                "dim": dim,
                "volumes": {
                    name: {
                        **mosaic(picture, quality=QUALITY[dim]),
                        "values": [float(f"{v:.6g}") for v in self.codes[name].values],
                        "window": self.codes[name].window,
                        "hounsfield": self.codes[name].hounsfield,
                    }
                    for name, picture in self.pictures.items()
                },
                "jacobian": volume_change(self.field, lattice),
                "field": arrows(self.field, lattice),
                "confidence": confidence(self.result.confidence, lattice),
                "mask": masks(self.result, lattice, self.field),
                "labels": organs(self.result, lattice, self.field),
                "landmarks": landmarks(self.result, lattice),
            }

    def _file(self, which: str) -> Any:
        return self.result.settings.get(which)

    @cached_property
    def _glance(self) -> dict[str, np.ndarray]:
        """The three images on a lattice of few voxels over the whole fixed image, (C, *S) each."""
        few = coarser(facing(self.result.fixed.grid), GLANCE)
        with torch.no_grad():
            return {
                "fixed": on(self.fixed, few),
                "moving": on(self.moving, few),
                "warped": resample(self.moving, few, displacement(self.result, few))
                .data[0]
                .numpy(),
            }

    def _box(self, whole: Grid) -> tuple[list[int], list[int]]:
        """First and last-but-one voxel of what the images contain, with some margin.

        Of the moving image before the registration only what lies near: where the files place it
        half a metre away, everything else would be drawn very small.
        """
        if any(len(values) == 3 for values in self._glance.values()):
            # the ground of a stained slide is white: all of it is shown
            return [0] * whole.dim, list(whole.shape)
        seen = {name: occupied(grey(values)) for name, values in self._glance.items()}
        near = bounds(seen["fixed"] | seen["warped"])
        if near is None:
            return [0] * whole.dim, list(whole.shape)
        far = bounds(seen["fixed"] | seen["warped"] | seen["moving"]) or near
        if (far[1] - far[0]).prod() < WIDER * (near[1] - near[0]).prod():
            near = far
        shape = np.array(whole.shape)
        ratio = shape / np.array(seen["fixed"].shape)
        margin = 2 + 0.03 * shape
        start = np.floor(near[0] * ratio - margin).astype(int)
        stop = np.ceil(near[1] * ratio + margin).astype(int)
        return np.maximum(start, 0).tolist(), np.minimum(stop, shape).tolist()


def occupied(values: np.ndarray) -> np.ndarray:
    """Where an image shows more than its ground, (*S) bool."""
    (low, high), _ = shown(values[np.isfinite(values)]) if np.isfinite(values).any() else EMPTY
    return np.nan_to_num(values) > low + 0.04 * (high - low)


def bounds(where: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """First voxel, and the one after the last, of those that hold; None where none does."""
    if not where.any():
        return None
    at = np.argwhere(where)
    return at.min(0), at.max(0) + 1

"""Registration: the result of registering two images."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from coincide.alignment import Alignment
from coincide.space.image import Image
from coincide.space.sampling import Interpolation
from coincide.transforms.transform import Transform


@dataclass(frozen=True)
class Step:
    """One optimiser update, as it is watched and kept.

    Args:
        stage: Which part of the registration, such as `affine` or `displacement`.
        level: Pyramid level, 0 the coarsest.
        step: Count within the level, from 0.
        cost: Value of the objective.
        terms: Value of every term before its weight.
    """

    stage: str
    level: int
    step: int
    cost: float
    terms: dict[str, float]


@dataclass(frozen=True)
class Candidate:
    """One start that the initialisation tried.

    Args:
        name: Where it came from, such as `header` or `rotation 12`.
        cost: What it reached on the coarsest level; lower is better.
        refined: Whether it was improved there, or only looked at.
        chosen: Whether it is the one that was gone on from.
    """

    name: str
    cost: float
    refined: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class Agreement:
    """How alike the two images are, whatever their contrasts; see `coincide.agreement`.

    Args:
        before: With the world coordinates of the files.
        after: As registered.
        shifted: As registered, but the moving image displaced afterwards; chance level.
        mirrored: As registered, but the moving image mirrored afterwards; the same.
        gained: Whether `after` is clearly more than chance, and not clearly less than `before`.
    """

    before: float
    after: float
    shifted: float
    mirrored: float
    gained: bool

    def __str__(self) -> str:
        chance = f"{self.shifted:.2f} displaced on purpose and {self.mirrored:.2f} mirrored"
        if self.gained:
            return f"The images agree by {self.after:.2f} of 1, {self.before:.2f} before, {chance}."
        return (
            f"The images DO NOT AGREE better than by chance: by {self.after:.2f} of 1, "
            f"{self.before:.2f} before, {chance}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Registration:
    """What `register` returns, and what a folder that it was saved in gives back.

    Args:
        fixed: Fixed image as given, world RAS+.
        moving: Moving image as given.
        transform: Fixed-world to moving-world points, mm.
        inverse: Moving-world to fixed-world points, mm.
        history: Every optimiser step, in order.
        candidates: Starts tried by the alignment: the chosen one, then the others, best first.
        margin: By how much the best different answer of the alignment would have cost more, in
            units of its similarity, on one level; below 0 where the header was believed all the
            same, inf where there was none; None: nothing was tried.
        confidence: How clear the choice of a search was at each of its control points, (1, 1, *N),
            from 0 to 1; None: nothing was searched.
        initial: The transform that was given as a start; None: none was.
        labels: Label maps of the fixed and of the moving image, in one numbering; None: not given.
        points: Landmarks of both, (P, D) each, mm; None: not given.
        label_names: What the labels are called, by number; None: not given.
        agreement: How alike the images are, before and after; None: not measured.
        settings: Everything needed to repeat the run; files by their absolute paths, what was
            given as arrays by the name under which `save` writes it.
        asked: What was asked for, before anything was chosen, as text.
        hashes: SHA-256 of every file that was read, by its key in the settings.
        versions: Of the software that made it.
        date: When, ISO 8601.
        status: One sentence for a person: what was done, and how it ended.
        details: The same of each way, for who tunes it.
        seconds: Wall time of each stage.
        warnings: What was odd about the input and how it was treated, and what about the result
            needs a look, one sentence each.
    """

    fixed: Image
    moving: Image
    transform: Transform
    inverse: Transform
    history: tuple[Step, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    margin: float | None = None
    confidence: Image | None = None
    initial: Transform | None = None
    labels: tuple[Image, Image] | None = None
    points: tuple[np.ndarray, np.ndarray] | None = None
    label_names: Mapping[int, str] | None = None
    agreement: Agreement | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    date: str = ""
    status: str = ""
    details: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        lines = [
            f"Registration of {_size(self.moving)} onto {_size(self.fixed)}",
            *([self.status] if self.status else []),
            *(f"note: {note}" for note in self.warnings),
        ]
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        from coincide.still import html

        return html(self)

    @cached_property
    def alignment(self) -> Alignment:
        """The two images under the transform, on the full fixed grid."""
        return Alignment(self.fixed, self.moving, self.transform)

    @property
    def warped(self) -> Image:
        """The moving image on the fixed grid, linear interpolation."""
        return self.alignment.warped

    def warp(self, value: Any, *, interpolation: Interpolation | None = None) -> Any:
        """Bring what belongs to the moving image onto the fixed one.

        Args:
            value: An image or label map, in any form that `register` takes, in the world of the
                moving image; or points (P, D) of it, RAS+ mm.
            interpolation: See `resample`; None: `label` for an `Image` of integers,
                `linear` for all others.

        Returns:
            An `Image` on the grid of the fixed image; of points, where they are in the fixed one.

        Example:
            >>> from coincide.register import register
            >>> result = register(fixed, moving, "affine", initial="header")
            >>> result.warp(moving).grid == fixed.grid
            True
        """
        from coincide.files.accept import as_image

        if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == self.fixed.dim:
            return self.inverse(value)
        exact = isinstance(value, Image) and not value.data.is_floating_point()
        how = interpolation or ("label" if exact else "linear")
        image = as_image(value, whole=how in ("nearest", "label")).image
        return self.alignment.pull(image, interpolation=how)

    def evaluate(
        self,
        *,
        fixed_labels: Any = None,
        moving_labels: Any = None,
        fixed_points: Any = None,
        moving_points: Any = None,
        fixed_mask: Any = None,
    ) -> Any:
        """Scores; what is not given here is what was given to `register`. See `evaluate`."""
        from coincide.scores.evaluate import evaluate

        return evaluate(
            self,
            fixed_labels=fixed_labels,
            moving_labels=moving_labels,
            fixed_points=fixed_points,
            moving_points=moving_points,
            fixed_mask=fixed_mask,
        )

    def save(self, folder: str | Path, *, report: bool = True, force: bool = False) -> Path:
        """Write all of it into one folder, which `coincide.load` reads; see `save`."""
        from coincide.output import save

        return save(self, folder, report=report, force=force)

    def report(self, path: str | Path) -> Path:
        """Write the page that shows it, with its scores; see `write_report`."""
        from coincide.report.page import write_report

        return write_report([self], path, scores=[self.evaluate().to_dict()])

    def show(self) -> Any:
        """The fixed and the warped image in a notebook, with a slider that blends them.

        Raises:
            ModuleNotFoundError: saying what to install.
        """
        from coincide.still import show

        return show(self)


def _size(image: Image) -> str:
    """Voxels and their size, as in `256 x 256 x 180 voxels of 1 x 1 x 1.2 mm`."""
    voxels = " x ".join(str(n) for n in image.grid.shape)
    return f"{voxels} voxels of {' x '.join(f'{mm:.3g}' for mm in image.grid.spacing)} mm"

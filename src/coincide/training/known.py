"""Known: landmarks and transforms of the pairs that are trained on, in the world of their grid."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from coincide.files.itk import read_transform
from coincide.files.points import read_points
from coincide.objective import Objective, Penalty
from coincide.training.cases import Cases, Places
from coincide.training.subjects import Subjects
from coincide.transforms.axes import check_axes
from coincide.transforms.composite import Composite
from coincide.transforms.linear import Affine


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of some pairs beside their images.

    Args:
        points: Landmarks of the fixed and of the moving image, (P, D) each, mm.
        fields: Displacement at the voxels of the common grid, (1, D, *S), mm, kept in 16 bits,
            which tell a hundredth of a millimetre.
    """

    points: Mapping[Places, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    fields: Mapping[Places, Tensor] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of all of it; empty: nothing is known."""
        if not self.points and not self.fields:
            return ""
        found = hashlib.sha256()
        for pair, both in sorted(self.points.items()):
            found.update(repr(pair).encode() + both[0].tobytes() + both[1].tobytes())
        for pair, vectors in sorted(self.fields.items()):
            found.update(repr(pair).encode() + vectors.numpy().tobytes())
        return found.hexdigest()


def read_known(cases: Cases, subjects: Subjects) -> Known:
    """Read the points and transforms of all pairs that have some.

    Args:
        cases: Their files.
        subjects: The images, whose places on the common grid points and transforms follow.

    Raises:
        ValueError: if a file cannot be read, points of a pair differ in number, or points or
            a transform are of another number of axes.
    """
    points, fields = {}, {}
    for pair, beside in cases.beside.items():
        here, there = (subjects.matrices[i] for i in pair)
        if beside.points is not None:
            files = zip(beside.points, pair, strict=True)
            found = [read_points(file, image=cases.cases[i].image) for file, i in files]
            dims = {one.shape[1] for one in found}
            if found[0].shape != found[1].shape or dims != {subjects.grid.dim}:
                raise ValueError(
                    f"{beside.points[0]} has points {found[0].shape} and {beside.points[1]} "
                    f"{found[1].shape}; give (P, {subjects.grid.dim}) each, row by row the same "
                    "places"
                )
            points[pair] = (_mapped(here, found[0]), _mapped(there, found[1]))
        if beside.transform is not None:
            own = read_transform(beside.transform)
            check_axes(own, subjects.grid.dim, str(beside.transform))
            whole = Composite((Affine(there), own, Affine(np.linalg.inv(here))))
            with torch.no_grad():
                fields[pair] = whole.displacement(subjects.grid).half()
    return Known(points, fields)


def check_known(
    objective: Objective, cases: Cases, subjects: Subjects, known: Known, share: float
) -> None:
    """Refuse an objective whose terms lack their data.

    A pair without landmarks, or without a field, may be trained on by the other terms.

    Args:
        objective: What shall be lowered.
        cases: The pairs.
        subjects: Their images and labels.
        known: What else is known of them.
        share: How often pairs are simulated.

    Raises:
        ValueError: saying what lacks.
    """
    if "labels" in objective.absent and None in subjects.labels:
        raise ValueError("the objective has the term 'labels', but some image has no labels")
    for name, of, how in (
        ("landmarks", known.points, "fill fixed_points and moving_points of the table"),
        ("field", known.fields, "fill the column transform of the table, or give --simulated 1"),
    ):
        if name not in objective.absent or (name == "field" and share == 1):
            continue
        lacking = [pair for pair in cases.training if pair not in of]
        alone = all(isinstance(t, Penalty) or t.name == name for _, t in objective.terms)
        if len(lacking) == len(cases.training) and not (name == "field" and share and not alone):
            raise ValueError(f"the objective has the term {name!r}, but no pair has one; {how}")
        if lacking and alone:
            names = [cases.cases[i].image.name for i in lacking[0]]
            raise ValueError(
                f"the objective compares {name} alone, and the pair {names[0]}, {names[1]} has "
                f"none; {how}, or add a similarity"
            )


def _mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:-1, :-1].T + matrix[:-1, -1]

"""Cases: the pairs of images on which the peers are compared, by name."""

from dataclasses import dataclass
from pathlib import Path

# FreeSurfer's structures of cerebrum, cerebellum and brainstem that every adult brain has
ASEG = (2, 3, 4, 7, 8, 10, 11, 12, 13, 16, 17, 18, 26, 28, 41, 42, 43, 46, 47)
ASEG += (49, 50, 51, 52, 53, 54, 58, 60)


@dataclass(frozen=True)
class Case:
    """One pair and what is known about it.

    Args:
        name: `group/number`.
        fixed: Path of the fixed image.
        moving: Path of the moving image.
        fixed_labels: Integer labels on the voxels of the fixed image; None: there are none.
        moving_labels: The same structures with the same numbers in the moving image.
        labels: Which labels are scored; empty: all.
        points: `fixed` and `moving` points (P, 3), LPS mm, in one .npz file.
        contrast: `same` or `different`.
        linear: `affine`, `rigid`, or `none` where the pair is aligned already.
        preset: What Coincide recommends for it.
    """

    name: str
    fixed: Path
    moving: Path
    fixed_labels: Path | None = None
    moving_labels: Path | None = None
    labels: tuple[int, ...] = ()
    points: Path | None = None
    contrast: str = "same"
    linear: str = "affine"
    preset: str = "auto"

    @property
    def group(self) -> str:
        """Kind of pair: one table each."""
        return group(self.name)


def group(name: str) -> str:
    """The kind of pair that a case is."""
    return name.split("/")[0]


def named(wanted: list[str], known: list[str]) -> list[str]:
    """Names of cases; a group stands for all of its cases.

    Raises:
        ValueError: naming the groups there are.
    """
    result = []
    for text in wanted:
        found = [name for name in known if text in (name, group(name))]
        if not found:
            groups = ", ".join(dict.fromkeys(group(name) for name in known))
            raise ValueError(f"no case is called {text!r}; known groups: {groups}")
        result += found
    return list(dict.fromkeys(result))

"""Case: one image to train on, and what is known of a pair of them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One image.

    Args:
        image: Its file.
        labels: File of its label map; None: none.
    """

    image: Path
    labels: Path | None = None


@dataclass(frozen=True)
class Beside:
    """Files of what is known of a pair beside its images and label maps.

    Args:
        points: Landmarks of the fixed and of the moving image, row by row the same places; None:
            none.
        transform: From fixed-world to moving-world points; None: not known.
    """

    points: tuple[Path, Path] | None = None
    transform: Path | None = None


Listed = list[tuple[Case, Case, Beside]]


def there(beside: Path, name: str | None) -> Path | None:
    """A file that a list names, relative to that of the list; None where it names none.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if not name:
        return None
    file = beside.parent / name
    if not file.is_file():
        raise FileNotFoundError(f"{beside} lists {file}, which is not there")
    return file


def case(beside: Path, image: str, labels: str | None) -> Case:
    """An image that a list names, with its label map."""
    file = there(beside, image)
    if file is None:
        raise ValueError(f"{beside} has a row without an image; fill the columns fixed and moving")
    return Case(file, there(beside, labels))

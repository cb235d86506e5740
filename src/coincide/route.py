"""Route: transforms one after the other, from files or not, forwards or backwards."""

from collections.abc import Sequence
from pathlib import Path

from coincide.files.flirt import is_flirt, read_flirt
from coincide.files.itk import read_transform
from coincide.space.grid import Grid
from coincide.transforms.axes import check_axes
from coincide.transforms.transform import Transform

BACKWARDS = "inverse:"
Step = Transform | str | Path


def steps(
    transforms: Step | Sequence[Step], inverse: Sequence[int] = ()
) -> list[tuple[Step, bool]]:
    """What is to be applied, and whether backwards; in the order of the result.

    Args:
        transforms: Transforms or their files; `inverse:` before the name of a file turns it round.
        inverse: Which of them are to be turned round, counted from 1.

    Raises:
        ValueError: if there is none of that number, or it is turned round twice.
    """
    listed = [transforms] if isinstance(transforms, Transform | str | Path) else list(transforms)
    found = []
    for number, one in enumerate(listed, 1):
        marked = isinstance(one, str) and one.startswith(BACKWARDS)
        if marked and number in inverse:
            raise ValueError(
                f"transform {number} is turned round by --inverse {number} and by {BACKWARDS}; "
                "leave one of them out"
            )
        path = str(one).removeprefix(BACKWARDS) if marked else one
        found.append((path, marked or number in inverse))
    wrong = [number for number in inverse if not 1 <= number <= len(found)]
    if wrong:
        raise ValueError(
            f"there is no transform {wrong[0]} to turn round; they count from 1 to {len(found)}"
        )
    return found


def joined(
    found: Sequence[tuple[Step, bool]], dim: int, ends: tuple[Grid | None, Grid | None]
) -> list[Transform]:
    """The transforms, read and turned round, in the order in which points go through them.

    Args:
        found: What `steps` gave.
        dim: Number of axes of the images or points.
        ends: Grids of the images where the route begins and ends; only FSL's matrices need them.

    Raises:
        ValueError: if a file cannot be read, or is of another number of axes.
    """
    chain = []
    for one, backwards in found:
        transform = one if isinstance(one, Transform) else _read(Path(one), backwards, found, ends)
        check_axes(transform, dim, _name(one))
        chain.append(transform.inverse() if backwards else transform)
    for transform in chain:
        transform.requires_grad_(False)
    return chain


def _read(
    path: Path,
    backwards: bool,
    found: Sequence[tuple[Step, bool]],
    ends: tuple[Grid | None, Grid | None],
) -> Transform:
    if not path.exists() or not is_flirt(path):
        return read_transform(path)
    start, end = ends[::-1] if backwards else ends
    if start is None or end is None or len(found) > 1:
        # what read_transform says: which images it needs, and how to convert it
        return read_transform(path)
    return read_flirt(path, start, end)


def _name(step: Step) -> str:
    return type(step).__name__ if isinstance(step, Transform) else str(step)

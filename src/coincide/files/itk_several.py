"""Which of the transforms in one file are meant: all of a composite, or one of several."""

from collections.abc import Sequence
from pathlib import Path

COMPOSITE = "CompositeTransform"


def picked(kinds: Sequence[str], frame: int | None, path: Path) -> list[int]:
    """Numbers of the entries that make up the transform that is wanted, outermost first.

    ITK joins entries only under a composite, which comes first. Without one, a file holds
    transforms that have nothing to do with each other, such as one for each time point: to apply
    them one after the other would be wrong, to take the first, as SimpleITK does, no better.

    Args:
        kinds: Class of every entry, in the order of the file.
        frame: Which of several is wanted, from 0; None: there must be only one.
        path: The file, for messages.

    Raises:
        ValueError: if there are several and none is chosen, or that one does not exist.
    """
    composite = bool(kinds) and kinds[0].startswith(COMPOSITE)
    if any(kind.startswith(COMPOSITE) for kind in kinds[1:]):
        raise ValueError(
            f"{path} has a composite that does not come first, which ITK does not allow; "
            "write its parts to files of their own"
        )
    if composite or len(kinds) == 1:
        if frame not in (None, 0):
            raise ValueError(
                f"{path} holds one transform, number 0; transform {frame} is not there"
            )
        return list(range(1 if composite else 0, len(kinds)))
    last = len(kinds) - 1
    if frame is None:
        different = ", ".join(dict.fromkeys(kinds))
        raise ValueError(
            f"{path} holds {len(kinds)} transforms ({different}) and no composite that joins them: "
            "it may have one for each time point; "
            f"choose one of 0 to {last} with frame=N (coincide convert FILE NEW --frame N)"
        )
    if not 0 <= frame <= last:
        raise ValueError(f"{path} holds transforms 0 to {last}; transform {frame} is not there")
    return [frame]

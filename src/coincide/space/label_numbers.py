"""Label numbers: which numbers of two label maps mean the same organ."""

from collections.abc import Mapping

import torch

from coincide.space.image import Image


def renumbered(labels: Image, numbers: Mapping[int, int]) -> Image:
    """A moving label map in the numbers of the fixed one.

    Labels that the table does not list become background: kept under their own number they would
    be compared with whatever organ happens to have that number in the fixed map.

    Args:
        labels: Integer labels, (B, C, *S).
        numbers: Number in the moving map to number in the fixed map. Several may become one.

    Raises:
        TypeError: if the labels are not integers.
        ValueError: if the map has none of the numbers listed.

    Example:
        >>> import numpy as np
        >>> moving = Image.from_array(np.array([[0, 5], [6, 7]]))
        >>> renumbered(moving, {5: 1, 6: 2}).numpy().tolist()
        [[0, 1], [2, 0]]
    """
    data = labels.data
    if data.is_floating_point():
        raise TypeError(
            f"the labels are {data.dtype}; give integers, for instance "
            "Image.from_array(labels.round().astype(int), affine)"
        )
    present, index = torch.unique(data, return_inverse=True)
    known = [int(label) for label in present if int(label) != 0]
    if not set(known) & set(numbers):
        raise ValueError(
            f"the moving map has the labels {listed(known)}, none of which is in the table of "
            f"{listed(sorted(numbers))}; the table goes from moving numbers to fixed numbers"
        )
    table = torch.tensor([numbers.get(int(label), 0) for label in present])
    return labels.with_data(table.to(data.device)[index].to(torch.int64))


def matched_by_name(moving: Mapping[int, str], fixed: Mapping[int, str]) -> dict[int, int]:
    """Moving number to fixed number of every organ that two tables of names share.

    Capitals, spaces, hyphens and underscores make no difference.

    Raises:
        ValueError: if the tables share no name, or one gives a shared name to two numbers.

    Example:
        >>> matched_by_name({9: "Left kidney", 3: "spleen"}, {2: "left_kidney", 1: "liver"})
        {9: 2}
    """
    where = _numbers(fixed, "fixed")
    found = {
        number: where[plain]
        for plain, number in _numbers(moving, "moving").items()
        if plain in where
    }
    if not found:
        raise ValueError(
            f"the two tables share no name: {listed(list(moving.values()))} and "
            f"{listed(list(fixed.values()))}; give a table of numbers instead"
        )
    return found


def listed(items: list, most: int = 8) -> str:
    """The first of a list as text, and how many more there are."""
    text = ", ".join(str(item) for item in items[:most])
    return text if len(items) <= most else f"{text} and {len(items) - most} more"


def _numbers(names: Mapping[int, str], which: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, name in names.items():
        plain = "".join(c for c in name.lower() if c.isalnum())
        if plain in found:
            raise ValueError(
                f"the {which} table calls both {found[plain]} and {number} {name!r}; "
                "a name must mean one number"
            )
        found[plain] = number
    return found

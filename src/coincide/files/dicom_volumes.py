"""Volumes: the slices of one DICOM series, told apart where several lie at every place."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np

from coincide.files.dicom_slice import MARKS, Slice

SAME = 1e-3  # mm; slices closer than this lie at the same place
# in what order slices at one place were taken, if nothing names the volumes
ORDERS = ("trigger time", "acquisition time", "content time", "instance number")


@dataclass(frozen=True, eq=False)
class Volume:
    """Slices of one volume.

    Args:
        slices: Along the normal; one mosaic, or one file, may hold all of them.
        label: What sets it apart from the other volumes of the series; empty if it is alone.
    """

    slices: tuple[Slice, ...]
    label: str = ""


def volumes_of(slices: Sequence[Slice]) -> list[Volume]:
    """The volumes of a series, in the order in which they were taken.

    A series of one volume has one slice at each place. Where there are several, such as time
    points, echoes or b-values, the marks in their headers are sought that give every volume each
    place once; where no mark does, the slices of each place are taken in their order of time.

    Raises:
        ValueError: if the same slice is there twice, or places have different numbers of slices.
    """
    places = _places(slices)
    many = max(len(place) for place in places)
    _no_doubles(slices)
    if many == 1:
        return [Volume(tuple(place[0] for place in places))]
    groups = _by_marks(places, many)
    if groups is None and all(len(place) == many for place in places):
        groups = _by_order(places, many)
    if groups is None:
        _uneven(places, many)
    assert groups is not None
    return _labelled([tuple(group) for group in groups])


def separate(slices: Sequence[Slice]) -> list[Volume]:
    """Files that hold a whole volume each, as mosaics do, in the order in which they were taken.

    Raises:
        ValueError: if the same file is there twice.
    """
    _no_doubles(slices)
    order = ("temporal position", "acquisition number", "instance number", "acquisition time")
    ranked = sorted(slices, key=lambda one: [_key(one.marks.get(name, "")) for name in order])
    return _labelled([(one,) for one in ranked])


def _labelled(groups: Sequence[tuple[Slice, ...]]) -> list[Volume]:
    """The groups as volumes, each with what sets it apart from the others."""
    if len(groups) == 1:
        return [Volume(groups[0])]
    names = [*MARKS, *(name for name in groups[0][0].marks if name not in MARKS)]
    tables = {
        name: [{one.marks.get(name, "") for one in group} for group in groups] for name in names
    }
    telling = [
        name
        for name, table in tables.items()
        if all(len(values) == 1 for values in table) and len(set().union(*table)) > 1
    ]
    if not telling:  # as when every slice has a time of its own
        telling = [name for name in ORDERS if len(set().union(*tables.get(name, []))) > 1][:1]
    most = max(len(group) for group in groups)
    labels = []
    for n, group in enumerate(groups):
        said = [f"{name} {_range(tables[name][n])}" for name in telling[:4]]
        short = [f"only {len(group)} of {most} slices"] if len(group) < most else []
        labels.append(", ".join(said + short))
    return [Volume(group, label) for group, label in zip(groups, labels, strict=True)]


def listing(volumes: Sequence[Volume], most: int = 6) -> str:
    """The first volumes and what sets them apart, for a message."""
    said = "; ".join(f"{n}: {one.label or 'no label'}" for n, one in enumerate(volumes[:most]))
    return said + (f"; … {len(volumes) - 1}: {volumes[-1].label}" if len(volumes) > most else "")


def _places(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that lie at the same height together, from the lowest."""
    ordered = sorted(slices, key=lambda one: one.height)
    places = [[ordered[0]]]
    for before, one in pairwise(ordered):
        if one.height - before.height < SAME:
            places[-1].append(one)
        else:
            places.append([one])
    return places


def _by_marks(places: list[list[Slice]], many: int) -> list[list[Slice]] | None:
    """Groups by the fewest marks that give `many` volumes with every place at most once."""
    slices = [one for place in places for one in place]
    numbers = [number for number, place in enumerate(places) for _ in place]
    names = [*MARKS, *(n for n in slices[0].marks if n not in MARKS and n != "instance number")]
    useful = {name: [one.marks.get(name, "") for one in slices] for name in names}
    # one value for all tells nothing apart, and more values than volumes would split one
    useful = {name: values for name, values in useful.items() if 1 < len(set(values)) <= many}
    for count in (1, 2, 3):
        for chosen in combinations(useful, count):
            keys = list(zip(*(useful[name] for name in chosen), strict=True))
            different = set(keys)
            # every group has every place at most once if no pair of the two comes twice
            if len(different) != many or len(set(zip(keys, numbers, strict=True))) < len(keys):
                continue
            groups: dict[tuple[str, ...], list[Slice]] = {
                key: [] for key in sorted(different, key=lambda key: [_key(v) for v in key])
            }
            for key, one in zip(keys, slices, strict=True):
                groups[key].append(one)
            return list(groups.values())
    return None


def _by_order(places: list[list[Slice]], many: int) -> list[list[Slice]] | None:
    """The first, second, … slice of every place, by the first order that tells them all apart."""
    for name in ORDERS:
        if all(len({one.marks.get(name, "") for one in place}) == many for place in places):
            ranked = [sorted(p, key=lambda one: _key(one.marks.get(name, ""))) for p in places]
            return [[place[n] for place in ranked] for n in range(many)]
    return None


def _no_doubles(slices: Sequence[Slice]) -> None:
    seen: dict[str, Slice] = {}
    doubles = []
    for one in slices:
        if one.instance and one.instance in seen:
            doubles.append(f"{seen[one.instance].name} = {one.name}")
        seen[one.instance] = one
    if doubles:
        raise ValueError(
            f"{len(doubles)} slices lie at the same place as another and are the same "
            f"({names(doubles)}); remove the doubles"
        )


def _uneven(places: list[list[Slice]], many: int) -> None:
    pairs = [f"{place[0].name} = {place[1].name}" for place in places if len(place) > 1]
    counts = np.bincount([len(place) for place in places])
    usual = ", ".join(f"{n} places have {c}" for c, n in enumerate(counts) if n)
    raise ValueError(
        f"{len(pairs)} slices lie at the same place as another ({names(pairs)}), and nothing in "
        f"their headers tells {many} volumes apart ({usual} slices); remove the doubles, add the "
        "missing slices, or move one time point or echo of the series to a folder of its own"
    )


def _key(value: str) -> tuple[float, str]:
    """Numbers by their size, and before words."""
    try:
        # numbers by their size: as text 10 comes before 9
        return float(value), ""
    except ValueError:
        return np.inf, value


def _range(values: set[str]) -> str:
    ordered = [value or "none" for value in sorted(values, key=_key)]
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}"


def names(found: Sequence[str]) -> str:
    """The first eight, and how many more there are."""
    return ", ".join(found[:8]) + (f" and {len(found) - 8} more" if len(found) > 8 else "")

"""Points of transformix, the program of elastix: one word, their number, and a line for each."""

from pathlib import Path

import numpy as np

from coincide.files.point_file import PointFile, numbers

WORLDS = {"point": "lps", "index": "pixel"}


def first_word(text: str) -> str:
    """What the first line says, in small letters, if it is one word."""
    words = text.lstrip().partition("\n")[0].lower().split()
    return words[0] if len(words) == 1 else ""


def read_transformix(text: str, path: Path) -> PointFile:
    """LPS positions under the word `point`, voxels of the fixed image under `index`.

    Raises:
        ValueError: if their number is not the one that the file says.
    """
    word = first_word(text)
    _, *lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or len(lines[0]) != 1 or not lines[0][0].isdigit():
        raise ValueError(f"{path} does not say in its second line how many points it holds")
    count, rows = int(lines[0][0]), lines[1:]
    if count != len(rows):
        raise ValueError(f"{path} says {count} points, {len(rows)} lines follow; mend the number")
    if rows and (len(rows[0]) not in (2, 3) or any(len(row) != len(rows[0]) for row in rows)):
        raise ValueError(f"{path} needs the same 2 or 3 numbers in every line, apart by spaces")

    def rewritten(moved: np.ndarray) -> str:
        return transformix_of(moved, word)

    return PointFile(path, "transformix", numbers(rows, path), WORLDS[word], rewritten)


def transformix_of(points: np.ndarray, word: str = "point") -> str:
    """The text of points (P, D): LPS mm under `point`, voxels under `index`."""
    lines = [" ".join(map(repr, row)) for row in np.asarray(points, np.float64).tolist()]
    return "\n".join([word, str(len(lines)), *lines]) + "\n"

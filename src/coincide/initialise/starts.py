"""Starts: linear maps worth trying before anything is optimised."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from coincide.initialise.rotations import rotations
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Start:
    """A named linear map, fixed world to moving world, (D+1, D+1) mm."""

    name: str
    matrix: np.ndarray


@dataclass(frozen=True, eq=False)
class Moments:
    """Centre of mass (D,) mm, principal axes in columns (D, D), standard deviations (D,) mm."""

    centre: np.ndarray
    axes: np.ndarray
    spread: np.ndarray


def moments(image: Image, inside: torch.Tensor) -> Moments:
    """First and second moments of where the content lies (not of its intensities).

    Shape says the same in every modality; brightness does not.
    """
    where = torch.nonzero(inside[0, 0] > 0).double().numpy()
    # some fifty thousand places say as much about a shape as all
    world = image.grid.to_world(where[:: max(1, len(where) // 50_000)])
    centre = world.mean(0)
    values, axes = np.linalg.eigh(np.cov((world - centre).T))
    # eigh gives the smallest first; the longest axis of one image is to meet that of the other
    order = np.argsort(-values)
    return Moments(centre, axes[:, order], np.sqrt(values[order].clip(1e-6)))


def about(linear: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """The map with a linear part (D, D) that sends the point `fixed` to the point `moving`."""
    matrix = np.eye(len(linear) + 1)
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = moving - linear @ fixed
    return matrix


def starts(
    fixed: Image,
    moving: Image,
    fixed_moments: Moments,
    moving_moments: Moments,
    *,
    count: int,
    scale: bool,
) -> list[Start]:
    """Header, centres, places within the larger image, moments and `count` rotations.

    With `scale`, moments and rotations are also tried at the ratio of the sizes.
    """
    dim = fixed.dim
    f, m = fixed_moments, moving_moments
    identity = np.eye(dim)
    found = [
        Start("header", np.eye(dim + 1)),
        Start("geometric centres", about(identity, fixed.grid.centre, moving.grid.centre)),
        Start("centres of mass", about(identity, f.centre, m.centre)),
    ]
    found.extend(
        Start(
            "centres " + " ".join(f"{mm:+.0f}" for mm in offset),
            about(identity, fixed.grid.centre, moving.grid.centre + offset),
        )
        for offset in _places(fixed, moving)
    )
    ratio = float(np.exp(np.mean(np.log(m.spread / f.spread))))
    # smaller differences of size are left to the optimiser
    sizes = [1.0, ratio] if scale and abs(np.log(ratio)) > 0.08 else [1.0]
    for signs in product((1, -1), repeat=dim):
        turn = m.axes @ np.diag(signs) @ f.axes.T
        # axes have no sense, so all signs are tried but those that mirror
        if np.linalg.det(turn) > 0:
            name = "principal axes " + "".join("+" if s > 0 else "-" for s in signs)
            found.extend(
                Start(f"{name}{_sized(size)}", about(size * turn, f.centre, m.centre))
                for size in sizes
            )
    for number, turn in enumerate(rotations(dim, count)):
        found.extend(
            Start(f"rotation {number}{_sized(size)}", about(size * turn, f.centre, m.centre))
            for size in sizes
        )
    return found


def _places(fixed: Image, moving: Image) -> list[np.ndarray]:
    """Where the centre of the smaller box may lie in the larger, (D,) mm each, but the middle."""
    boxes = [np.abs(i.grid.affine[:-1, :-1]) @ i.grid.shape for i in (fixed, moving)]
    spare = np.abs(boxes[0] - boxes[1])
    # along axes of about the same length the middle will do
    spare[spare < 0.2 * np.maximum(*boxes)] = 0
    steps = [np.linspace(-0.5, 0.5, 5) * s if s else [0.0] for s in spare]
    return [np.array(offset) for offset in product(*steps) if np.any(offset)]


def _sized(size: float) -> str:
    return "" if size == 1 else f", scale {size:.2f}"

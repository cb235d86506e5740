"""Tube frame: coordinates along and across a curved tube."""

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from coincide.space.grid import tensor

BEYOND = 0.4  # of s that either end is continued straight: a fifth of the length
NODES = 96  # frames along the line, at least
STEPS = 20  # of Newton's iteration; a point of the tube takes 3 to 5
CLOSE = 1e-9  # mm that count as arrived
CHUNK = 2**15  # points at once


class TubeFrame:
    r"""Tube coordinates $(s, a_1 \ldots a_{D-1})$ about a centre-line.

    $$ R^{-1}(s, a) = c(s) + r \sum_j a_j U_j(s) $$

    with s from -1 at one end to 1 at the other, and a of length 1 on the wall. The frame U is
    carried along without turning about the line (parallel transport), so that a straight motion of
    the tube's content does not look like a twist. Between the nodes c and U are linear; both ends
    are continued straight by a fifth of the length.

    Args:
        centreline: (N, D) points along the middle of the tube, mm, in order.
        radius: r, mm (> 0).
        reach: Radii from the line up to which the coordinates are used.
        axes: (D, D) unit vectors in columns, from which the first frame is chosen.

    Raises:
        ValueError: if there are fewer than two different points, or the tube is bent so much
            that it overlaps itself, naming the place.

    References:
        Wang et al. (2008), doi:10.1145/1330511.1330513 (frames by double reflection).
    """

    def __init__(self, centreline: np.ndarray, radius: float, reach: float, axes: np.ndarray):
        line = np.asarray(centreline, float)
        lengths = np.linalg.norm(np.diff(line, axis=0), axis=1) if line.ndim == 2 else np.zeros(1)
        if line.ndim != 2 or len(line) < 2 or line.shape[1] != len(axes) or not (lengths > 0).all():
            raise ValueError(
                f"a centre-line is (N, {len(axes)}) points, mm, no two in a row alike, not an "
                f"array {line.shape}"
            )
        self.radius, self.dim = radius, line.shape[1]
        along = np.concatenate([[0], np.cumsum(lengths)])
        curve = CubicSpline(along, line) if len(line) > 2 else None
        places = np.linspace(0, along[-1], max(NODES, 2 * len(line)))
        if curve is None:
            centres = line[0] + places[:, None] / along[-1] * (line[1] - line[0])
            tangents = np.tile(line[1] - line[0], (len(places), 1))
            bends = np.zeros_like(tangents)
        else:
            centres, tangents, bends = curve(places), curve(places, 1), curve(places, 2)
        speed = np.linalg.norm(tangents, axis=1, keepdims=True)
        tangents = tangents / speed
        across = bends - (bends * tangents).sum(1, keepdims=True) * tangents
        self._refuse(np.linalg.norm(across, axis=1) / speed[:, 0] ** 2, centres, radius, reach)
        normals = _transported(centres, tangents, axes)
        ends = np.linalg.norm(np.diff(centres, axis=0), axis=1).sum() / 2 * BEYOND
        self.knots = np.concatenate([[-1 - BEYOND], np.linspace(-1, 1, len(places)), [1 + BEYOND]])
        self.centres = np.concatenate(
            [centres[:1] - ends * tangents[:1], centres, centres[-1:] + ends * tangents[-1:]]
        )
        self.normals = np.concatenate([normals[:1], normals, normals[-1:]])  # (n, D-1, D)

    def to_world(self, places: Tensor) -> Tensor:
        """World positions, mm, of tube coordinates (P, D); differentiable."""
        centre, normals, _, _ = self._at(places)
        return centre + self.radius * torch.einsum("pj,pjd->pd", places[:, 1:], normals)

    def slope(self, places: Tensor) -> Tensor:
        """Derivative of `to_world`, (P, D, D): row i, column j is ∂x_i/∂q_j; differentiable."""
        _, normals, ahead, turned = self._at(places)
        along = ahead + self.radius * torch.einsum("pj,pjd->pd", places[:, 1:], turned)
        return torch.cat([along[:, :, None], self.radius * normals.transpose(1, 2)], 2)

    def volume(self, places: Tensor) -> Tensor:
        """Volume of the world that a unit of tube coordinates takes, (P,), mm^D."""
        return torch.linalg.det(self.slope(places)).abs()

    def to_tube(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Tube coordinates (P, D) of world positions, mm, and how far they miss them, (P,).

        Differentiable, twice, where the points are.
        """
        with torch.no_grad():
            found = torch.cat([self._solved(part) for part in points.detach().split(CHUNK)])
        if points.requires_grad and torch.is_grad_enabled():
            # two steps of Newton's iteration double the order of what is right twice
            for _ in range(2):
                missed = points - self.to_world(found)
                found = found + torch.linalg.solve(self.slope(found), missed[..., None])[..., 0]
        with torch.no_grad():
            missed = (self.to_world(found) - points).norm(dim=1)
        return found, missed

    def _solved(self, points: Tensor) -> Tensor:
        centres, knots = tensor(self.centres, points), tensor(self.knots, points)
        nearest = torch.cdist(points, centres).argmin(1)
        offset = points - centres[nearest]
        normals = tensor(self.normals, points)[nearest]
        across = torch.einsum("pjd,pd->pj", normals, offset) / self.radius
        found = torch.cat([knots[nearest][:, None], across], 1)
        # no step leads further along the line than a few nodes
        most = 4 * float(self.knots[2] - self.knots[1])
        for _ in range(STEPS):
            missed = points - self.to_world(found)
            if float(missed.norm(dim=1).max()) < CLOSE:
                break
            slope = self.slope(found)
            flat = torch.linalg.det(slope).abs() < 1e-9
            slope[flat] = torch.eye(self.dim, dtype=slope.dtype, device=slope.device)
            step = torch.linalg.solve(slope, missed[..., None])[..., 0]
            found = found + step * (most / step[:, :1].abs().clamp_min(1e-30)).clamp_max(1)
        return found

    def _at(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Centre, frame, and how both change with s."""
        knots = tensor(self.knots, places)
        s = places[:, 0]
        segment = torch.searchsorted(knots, s.detach().contiguous(), right=True) - 1
        segment = segment.clamp(0, len(knots) - 2)
        width = knots[segment + 1] - knots[segment]
        share = ((s - knots[segment]) / width)[:, None]
        centres, normals = tensor(self.centres, places), tensor(self.normals, places)
        ahead = centres[segment + 1] - centres[segment]
        turned = normals[segment + 1] - normals[segment]
        return (
            centres[segment] + share * ahead,
            normals[segment] + share[..., None] * turned,
            ahead / width[:, None],
            turned / width[:, None, None],
        )

    @staticmethod
    def _refuse(curvature: np.ndarray, centres: np.ndarray, radius: float, reach: float) -> None:
        worst = int(curvature.argmax())
        if curvature[worst] * radius * reach >= 1:
            place = ", ".join(f"{x:.1f}" for x in centres[worst])
            raise ValueError(
                f"the tube overlaps itself at ({place}) mm: its line bends there with a radius of "
                f"{1 / curvature[worst]:.1f} mm, and coordinates reach {radius * reach:.1f} mm "
                "from it; take a smaller radius, or a smoother line"
            )


def _transported(centres: np.ndarray, tangents: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Unit vectors across the line at every node, (n, D-1, D), that do not turn about it."""
    if centres.shape[1] == 2:
        # the side that the axes call left, so that a mirrored world has a mirrored frame
        turn = np.sign(np.linalg.det(axes)) * np.array([[0.0, -1.0], [1.0, 0.0]])
        return (tangents @ turn.T)[:, None]
    # rounded: of two axes that are as good the first, in every world
    first = axes[:, np.abs(axes.T @ tangents[0]).round(6).argmin()]
    first = first - (first @ tangents[0]) * tangents[0]
    found = [first / np.linalg.norm(first)]
    hand = np.sign(np.linalg.det(axes))
    for n in range(len(centres) - 1):
        # two reflections: in the plane between the nodes, and in that between the tangents
        step = centres[n + 1] - centres[n]
        half = step / (step @ step)
        u = found[-1] - 2 * (half @ found[-1]) * step
        t = tangents[n] - 2 * (half @ tangents[n]) * step
        gap = tangents[n + 1] - t
        size = gap @ gap
        u = u if size < 1e-24 else u - 2 / size * (gap @ u) * gap
        found.append(u / np.linalg.norm(u))
    one = np.array(found)
    return np.stack([one, hand * np.cross(tangents, one)], 1)

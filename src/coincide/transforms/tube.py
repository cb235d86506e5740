"""Tube: motion of a bowel, a vessel or another tube, learned in coordinates along and across it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import named, positive
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Points
from coincide.transforms.implicit import Implicit
from coincide.transforms.read_out import exactly
from coincide.transforms.siren import Siren
from coincide.transforms.tube_frame import BEYOND, TubeFrame

REACH = 1.6  # radii from the line at which the tube's own motion has faded
ARRIVED = 1e-6  # mm within which a point must be found in the tube to belong to it
BULK_WIDTH = 64  # of the network for what moves the tube as a whole


@named("tube")
class Tube(Implicit):
    r"""Motion in the coordinates of a tube, and motion of the tube as a whole.

    $$ T(x) = m(x)\, R^{-1}\big(\Phi(R(x))\big) + (1 - m(x))\, x + u(x) $$

    R takes the world to coordinates along and across the tube (see `TubeFrame`), $\Phi$ is the
    identity plus a sine network of these, u a smooth sine network of the world, and m a weight of
    continuous curvature that is 1 within the tube and fades to 0 at 1.6 radii. Squeezing and
    shortening, as in peristalsis, are simple in tube coordinates; breathing, which carries the
    tube off sideways, is not, and is what u is for. Volume changes inside the tube are

    $$ \det D(R^{-1} \Phi R)(x) = \det D\Phi \; w(\Phi(R x)) / w(R x), \quad w = \det DR^{-1} $$

    Args:
        centreline: (N, D) points along the middle of the tube, mm, in the fixed world; None: the
            middle line of the grid along its longest side.
        radius: Of the tube, mm (> 0); 1.6 radii times the curvature of the line must stay below 1.
        width: Of the hidden layers of $\Phi$.
        depth: Number of its hidden layers.
        omega: How fine its motion may be (> 0).
        bulk: The same of u; 0: the tube is not moved as a whole.
        seed: Of the first weights.
        grid: The grid that it was first put on; None: set by `on`.

    References:
        van Harten, van Herten, Stoker, Isgum (2024), Deformable image registration with
        geometry-informed implicit neural representations, PMLR 227.
    """

    optimiser = "adam(rate=0.002)"  # of a weight of the networks, which has no unit

    def __init__(
        self,
        centreline: np.ndarray | None = None,
        radius: float = 10.0,
        width: int = 128,
        depth: int = 2,
        omega: float = 10.0,
        bulk: float = 4.0,
        seed: int = 0,
        *,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.centreline = None if centreline is None else np.array(centreline, float)
        self.radius, self.width, self.depth = radius, width, depth
        self.omega, self.bulk, self.seed, self.grid = omega, bulk, seed, grid
        positive(self, "radius", "width", "depth", "omega")
        positive(self, "bulk", zero=True)
        if grid is not None:
            line = _middle(grid) if self.centreline is None else self.centreline
            self.frame = TubeFrame(line, radius, REACH, grid.direction)
            sizes = {"width": width, "depth": depth, "omega": omega, "seed": seed, "small": 0.0}
            self.network = CoordinateNetwork(grid.dim, grid.dim, **sizes)
            self.whole = Siren(BULK_WIDTH, depth, bulk, seed=seed, grid=grid) if bulk else None
            self._known: tuple[Grid, _Inside] | None = None

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold networks: the grid that it was first put on."""
        return self.grid

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points if self.grid is None else points + self.shift(points)

    def shift(self, points: Points) -> Points:
        """How far points (B, P, D) go, mm."""
        flat = points.flatten(0, 1).double()
        shift = self._squeezed(flat, self._inside(flat)).to(points.dtype)
        return self._carried(points) + shift.unflatten(0, points.shape[:2])

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        self.placed()
        device = self.network.last.weight.device
        if inner is not None:
            return exactly(lambda points: self.shift(points.to(device)), grid, inner)
        points = grid.points()[0].to(device)
        # where the voxels lie in the tube does not depend on what is optimised
        if self._known is None or self._known[0] != grid or self._known[1].on != device:
            self._known = (grid, self._inside(points))
        shift = self._squeezed(points, self._known[1]).float()
        shift = shift + self._carried(points.float()[None])[0]
        return shift.T.reshape(1, grid.dim, *grid.shape)

    def inside(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Tube coordinates of world points (P, D), and the weight m of each, (P,)."""
        self.placed()
        known = self._inside(points)
        weight = torch.zeros_like(points[:, 0])
        place = torch.full_like(points, torch.nan)
        return place.index_put((known.chosen,), known.place), weight.index_put(
            (known.chosen,), known.weight
        )

    def moved(self, places: Tensor) -> Tensor:
        r"""$\Phi$: tube coordinates (P, D) to tube coordinates."""
        return places + self.network(places).to(places.dtype)

    def _carried(self, points: Points) -> Tensor:
        return torch.zeros_like(points) if self.whole is None else self.whole.shift(points)

    def _squeezed(self, points: Tensor, known: "_Inside") -> Tensor:
        """How far points (P, D) go by the motion in tube coordinates, mm."""
        gone = self.frame.to_world(self.moved(known.place)) - points[known.chosen]
        shift = torch.zeros_like(points)
        return shift.index_put((known.chosen,), known.weight[:, None] * gone)

    def _inside(self, points: Tensor) -> "_Inside":
        with torch.no_grad():
            # far from every node is far from the tube
            centres = tensor(self.frame.centres, points)
            step = float(np.linalg.norm(np.diff(self.frame.centres, axis=0), axis=1).max())
            near = torch.cat(
                [torch.cdist(p, centres).amin(1) for p in points.detach().split(2**15)]
            )
            chosen = torch.nonzero(near < REACH * self.radius + step)[:, 0]
        place, missed = self.frame.to_tube(points[chosen])
        weight = _faded(place[:, 1:].square().sum(1).clamp_min(1e-20).sqrt() - 1, REACH - 1)
        weight = weight * _faded(place[:, 0].abs() - 1, 0.75 * BEYOND)
        kept = torch.nonzero((weight.detach() > 0) & (missed < ARRIVED))[:, 0]
        return _Inside(chosen[kept], place[kept], weight[kept])


@dataclass(frozen=True, eq=False)
class _Inside:
    """Which of some points lie in the tube, where, and how much they belong to it."""

    chosen: Tensor
    place: Tensor
    weight: Tensor

    @property
    def on(self) -> torch.device:
        return self.place.device


def _faded(beyond: Tensor, width: float) -> Tensor:
    """1 up to where something begins, 0 from `width` beyond it on, of continuous curvature."""
    t = (1 - beyond / width).clamp(0, 1)
    return t**3 * (10 - 15 * t + 6 * t * t)


def _middle(grid: Grid) -> np.ndarray:
    """The middle line of a grid along its longest side, without a sixth at either end."""
    axis = int(grid.extent.argmax())
    way = grid.direction[:, axis] * grid.extent[axis] / 3
    return np.stack([grid.centre - way, grid.centre + way])

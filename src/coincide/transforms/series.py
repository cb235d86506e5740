"""Series: the motion of a whole series of images, in the weights of one small network."""

import torch
from torch import Tensor, nn

from coincide.networks.coordinates import CoordinateNetwork
from coincide.registry import positive
from coincide.space.grid import Grid, tensor
from coincide.space.shapes import Field, Points
from coincide.transforms.newton import Newton
from coincide.transforms.read_out import read_out_of
from coincide.transforms.transform import Transform


class Series(nn.Module):
    r"""Displacement over space and time, $u(x, t) = A\,(f_\theta(x, t) - f_\theta(x, t_0))$.

    One sine network of place and time serves all images of a series, and those between them: motion
    is smooth in time as it is in space, and at the time $t_0$ of the reference nothing moves.

    Args:
        grid: Of the reference image.
        times: First and last time of the series, in any unit.
        reference: Time t₀ of the reference image.
        width: Of the hidden layers.
        depth: Number of hidden layers.
        omega: How fine the displacement may be in space (> 0).
        pace: The same in time, as a share of omega: 1 for a heartbeat, less for slower motion.
        seed: Of the first weights.

    Example:
        >>> series = Series(image.grid, (0.0, 10.0), 0.0)
        >>> bool((series.at(0.0)(points) == points).all())
        True
    """

    def __init__(
        self,
        grid: Grid,
        times: tuple[float, float],
        reference: float,
        *,
        width: int = 96,
        depth: int = 2,
        omega: float = 10.0,
        pace: float = 0.5,
        seed: int = 0,
    ):
        super().__init__()
        self.grid, self.times, self.reference, self.pace = grid, times, reference, pace
        self.width, self.depth, self.omega, self.seed = width, depth, omega, seed
        positive(self, "pace")
        if not times[0] < times[1]:
            raise ValueError(f"a series begins before it ends, not at {times[0]} and {times[1]}")
        self.network = CoordinateNetwork(
            grid.dim + 1, grid.dim, width=width, depth=depth, omega=omega, seed=seed, small=0.01
        )

    name = "series"  # in errors

    def shift(self, points: Points, time: float | Tensor) -> Points:
        """How far points (B, P, D) have gone at a time, mm; at several (B,), a batch."""
        axes = tensor(self.grid.direction * self.grid.extent.max() / 2, points)
        place = (points - tensor(self.grid.centre, points)) @ torch.linalg.inv(axes).T
        gone = self.network(self._with(place, time)) - self.network(
            self._with(place, self.reference)
        )
        return gone.to(points.dtype) @ axes.T

    def at(self, time: float | Tensor) -> "Moment":
        """The transform of one time, from the world of the reference to that of its image.

        Of several times (B,) it is that of a batch.
        """
        return Moment(self, time)

    def _with(self, place: Tensor, time: float | Tensor) -> Tensor:
        first, last = self.times
        moment = torch.as_tensor(time, dtype=torch.float64).reshape(-1, 1, 1)
        moment = self.pace * (2 * (moment - first) / (last - first) - 1)
        batch = max(len(place), len(moment))
        place = place.expand(batch, *place.shape[1:])
        return torch.cat([place, moment.to(place).expand(batch, place.shape[1], 1)], -1)


class Moment(Transform):
    """One time of a series: reference-world to that image's world points.

    Args:
        series: Shared by all moments.
        time: Any time of the series, not only those of its images; several, (B,), make a batch.
    """

    def __init__(self, series: Series, time: float | Tensor):
        super().__init__()
        self.series, self.time = series, time

    @property
    def grid(self) -> Grid:
        """That of the reference image."""
        return self.series.grid

    @property
    def field_grid(self) -> Grid:
        """Where it is sampled for who cannot hold a network."""
        return self.series.grid

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm."""
        return points + self.series.shift(points, self.time)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return read_out_of(self, lambda points: self.series.shift(points, self.time), grid, inner)

    def inverse(self) -> Newton:
        """The map back, point by point, by Newton's iteration."""
        return Newton(self)

    def on(self, grid: Grid) -> "Moment":  # noqa: ARG002
        """The same: one network serves every grid."""
        return self

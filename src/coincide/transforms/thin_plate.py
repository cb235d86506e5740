"""Thin-plate spline: the smoothest map that brings landmarks together."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from coincide.kernels.radial import radial_sum, radial_sum_at
from coincide.registry import named, positive
from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.displacement import Displacement, inverted
from coincide.transforms.parameter import frozen_like, laid_out, set_parameter
from coincide.transforms.transform import Transform


@named("thin_plate")
class ThinPlate(Transform):
    r"""Thin-plate spline through landmarks; affine far away from them.

    $$
    T(x) = x + A x + t + \sum_n w_n\,U(|x - p_n|), \qquad \sum_n w_n = 0, \quad
    \sum_n w_n p_n^\top = 0
    $$

    with $U(r) = r^2 \log r$ in 2-D and $-r$ in 3-D. Of all maps it has the least bending for

    $$\sum_n |T(p_n) - q_n|^2 + \lambda \int |\nabla^2 T|^2$$

    up to a constant factor of $\lambda$. `ThinPlate.of(fixed, moving)` fits it to landmarks that
    are known to correspond. Without landmarks it stands on a lattice whose points an optimiser
    moves.

    Args:
        spacing: Distance of the lattice points where no landmarks are given, mm (> 0).
        smoothing: $\lambda$, how far landmarks may be missed for a smoother map; 0: not at all. It
            counts in units of the landmarks' own extent, so that it means the same for any
            (no unit, >= 0).
        landmarks: (N, D) where the landmarks are in the fixed world, mm; None: a lattice.
        shifts: (B, D, N) from there to where they belong, mm; None: zero.
        grid: Where an inverse is computed, and the lattice laid out; None: set by `on`.

    References:
        Bookstein (1989), doi:10.1109/34.24792; Wahba (1990), doi:10.1137/1.9781611970128.
    """

    inverted: Tensor
    shifts: Tensor

    def __init__(
        self,
        spacing: float = 32.0,
        smoothing: float = 0.0,
        *,
        landmarks: np.ndarray | Tensor | None = None,
        shifts: Tensor | None = None,
        grid: Grid | None = None,
    ):
        super().__init__()
        self.spacing, self.smoothing, self.grid = spacing, smoothing, grid
        positive(self, "spacing")
        positive(self, "smoothing", zero=True)
        if landmarks is None:
            self.landmarks = None
            return
        self.landmarks = torch.as_tensor(landmarks).cpu().double().numpy()
        self.middle = self.landmarks.mean(0)
        # root mean square distance: in this unit the equations are well scaled for any landmarks
        self.size = max(float(np.sqrt(((self.landmarks - self.middle) ** 2).sum(1).mean())), 1e-6)
        place = torch.tensor((self.landmarks - self.middle) / self.size)
        self.register_buffer("place", place)
        self.register_buffer("inverted", fit(place, smoothing))
        zero = torch.zeros(1, place.shape[1], len(place))
        set_parameter(self, "shifts", zero if shifts is None else shifts.contiguous())

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for programs that do not know it."""
        return self.grid

    @classmethod
    def of(cls, fixed: np.ndarray, moving: np.ndarray, *, smoothing: float = 0.0) -> Self:
        """The spline that sends landmarks of the fixed image to those of the moving one.

        Args:
            fixed: (N, D), mm.
            moving: (N, D), mm, in the same order.
            smoothing: See the class.

        Raises:
            ValueError: if the two sets differ in shape, or hold a place twice.

        Example:
            >>> corners = np.array([[0.0, 0], [0, 9], [9, 0], [9, 9]])
            >>> spline = ThinPlate.of(corners, corners + [2, 1])
            >>> spline(torch.tensor([[[3.0, 4.0]]])).detach().round(decimals=4)
            tensor([[[5., 5.]]])
        """
        fixed, moving = np.asarray(fixed, np.float64), np.asarray(moving, np.float64)
        if fixed.shape != moving.shape or fixed.ndim != 2:
            raise ValueError(
                f"landmarks come in pairs (N, D): got {fixed.shape} fixed and {moving.shape} "
                "moving points"
            )
        if len(np.unique(fixed, axis=0)) < len(fixed) and not smoothing:
            raise ValueError(
                "a place occurs twice among the fixed landmarks; keep one of them, or give "
                "smoothing= above 0"
            )
        shifts = torch.tensor(np.ascontiguousarray((moving - fixed).T))[None]
        return cls(smoothing=smoothing, landmarks=fixed, shifts=shifts)

    def forward(self, points: Points) -> Points:
        """Moved points, (B, P, D) mm, evaluated exactly."""
        bent, affine = self._coefficients()
        middle = torch.as_tensor(self.middle, dtype=torch.float64, device=points.device)
        place = (points.double() - middle) / self.size
        shift = radial_sum_at(place, self._placed(), bent)
        shift = shift + place @ affine[..., 1:].transpose(1, 2) + affine[:, None, :, 0]
        return points + shift.to(points.dtype)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        if inner is not None:
            moved = grid.points(inner.dtype).to(inner.device) + inner.flatten(2).transpose(1, 2)
            # in pieces, because distances from all points to all landmarks are held at once
            chunks = [self(part) - part for part in moved.split(2**16, 1)]
            shift = torch.cat(chunks, 1).transpose(1, 2)
            return inner + shift.reshape(-1, *inner.shape[1:])
        centres = self._placed()
        bent, affine = self._coefficients()
        to_place = grid.affine[:-1].copy()
        # voxels straight to the landmarks' own units: one matrix instead of an array of points
        to_place[:, -1] -= self.middle
        to_place = to_place / self.size
        field = radial_sum(to_place, grid.shape, centres, bent)
        matrix = torch.as_tensor(to_place, dtype=torch.float64, device=bent.device)
        ramps = affine[..., 1:] @ matrix
        view = (*affine.shape[:2], *(1,) * grid.dim)
        field = field + (affine[..., 0] + ramps[..., -1]).view(view)
        for axis, n in enumerate(grid.shape):
            ramp = torch.arange(n, dtype=torch.float64, device=bent.device)
            ramp = ramp.view([-1 if d == axis else 1 for d in range(grid.dim)])
            field = field + ramps[..., axis].reshape(view) * ramp
        return field.float()

    def inverse(self) -> Displacement:
        """Numerical inverse on the grid, widened by what moves in from around it."""
        if self.grid is None:
            raise ValueError("this spline has no grid to be inverted on; call .on(grid) first")
        # landmarks are moved no further than this
        reach = float(self.shifts.detach().norm(dim=1).max())
        pad = [
            int(np.ceil(reach / s)) + 1 if n > 1 else 0
            for n, s in zip(self.grid.shape, self.grid.spacing, strict=True)
        ]
        wide = self.grid.crop(
            [-p for p in pad], [n + p for n, p in zip(self.grid.shape, pad, strict=True)]
        )
        field = inverted(self.displacement(wide), wide)
        return frozen_like(Displacement(field=field, grid=wide), self)

    def on(self, grid: Grid) -> "ThinPlate":
        """The same spline, to be inverted on `grid`; over a lattice if it has no landmarks."""
        landmarks = lattice(grid, self.spacing) if self.landmarks is None else self.landmarks
        shifts = None if self.landmarks is None else laid_out(self.shifts)
        made = ThinPlate(
            self.spacing, self.smoothing, landmarks=landmarks, shifts=shifts, grid=grid
        )
        return frozen_like(made, self)

    def _placed(self) -> Tensor:
        if self.landmarks is None:
            raise ValueError("this spline has no landmarks yet; call .on(grid) first")
        return self.place  # type: ignore[return-value]

    def _coefficients(self) -> tuple[Tensor, Tensor]:
        """Weights of the kernels (B, D, N), and of 1 and the coordinates (B, D, 1 + D), mm."""
        count = len(self._placed())
        solved = self.shifts.to(self.inverted.dtype) @ self.inverted.T
        return solved[..., :count], solved[..., count:]


def _apart(transform: ThinPlate, points: Points) -> tuple[Tensor, Tensor]:
    """From every landmark to every point, (B, P, N, D), and its square, in the landmarks' units."""
    centres = transform._placed()
    middle = torch.as_tensor(transform.middle, dtype=torch.float64, device=points.device)
    apart = ((points.double() - middle) / transform.size)[:, :, None] - centres
    return apart, apart.square().sum(-1)


@jacobian_at.register
def _(transform: ThinPlate, points: Points) -> Tensor:
    apart, squared = _apart(transform, points)
    bent, affine = transform._coefficients()
    # U depends on the square q of the distance d, whose slope is 2 d
    slope = 2 * kernel_slopes(squared, points.shape[2])[0]
    jacobian = torch.einsum("bin,bpn,bpnj->bpij", bent, slope, apart) + affine[:, None, :, 1:]
    identity = torch.eye(points.shape[2], dtype=torch.float64, device=points.device)
    return (jacobian / transform.size + identity).to(points.dtype)


@hessian_at.register
def _(transform: ThinPlate, points: Points) -> Tensor:
    apart, squared = _apart(transform, points)
    touching = int((squared.sqrt() * transform.size < 1e-9).any(-1).any(0).sum())
    if touching:
        raise ValueError(
            f"the second derivative of a thin-plate spline is infinite at its landmarks, and "
            f"{touching} of the points lie on one; ask between them"
        )
    bent, _ = transform._coefficients()
    # product rule for U(q) with q = |d|²: U' twice the identity, and U'' (2d)(2d)ᵀ
    first, second = kernel_slopes(squared, points.shape[2])
    identity = torch.eye(points.shape[2], dtype=torch.float64, device=points.device)
    hessian = 2 * torch.einsum("bin,bpn,jk->bpijk", bent, first, identity)
    hessian = hessian + 4 * torch.einsum("bin,bpn,bpnj,bpnk->bpijk", bent, second, apart, apart)
    return (hessian / transform.size**2).to(points.dtype)


def kernel_slopes(squared: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """First and second derivative of the kernel of thin plates by the squared distance.

    Args:
        squared: Squared distances.
        dim: Number of axes; the kernel is q log(q) / 2 in 2-D and -sqrt(q) in 3-D.
    """
    # at a landmark a finite slope times a distance of zero is zero
    squared = squared.clamp_min(1e-24)
    power = (4 - dim) / 2
    if dim % 2:
        first = -power * squared ** (power - 1)
        return first, (power - 1) * first / squared
    log = squared.log()
    first = 0.5 * squared ** (power - 1) * (power * log + 1)
    second = 0.5 * squared ** (power - 2) * (power * (power - 1) * log + 2 * power - 1)
    return first, second


def fit(place: Tensor, smoothing: float) -> Tensor:
    """The matrix that turns shifts of landmarks (N, D) into weights, (N + 1 + D, N), float64.

    Landmarks that lie in one plane, or too few of them, leave a part of the affine map open: the
    smallest is taken.
    """
    count, dim = place.shape
    whole = np.zeros((count + 1 + dim,) * 2)
    one = torch.eye(count, dtype=torch.float64)[None]
    whole[:count, :count] = radial_sum_at(place[None], place, one)[0].numpy()
    # on the diagonal, smoothing lets each landmark be missed by its own weight
    whole[:count, :count] += smoothing * np.eye(count)
    whole[:count, count] = whole[count, :count] = 1
    whole[:count, count + 1 :] = place.numpy()
    whole[count + 1 :, :count] = place.numpy().T
    return torch.from_numpy(np.linalg.pinv(whole, hermitian=True)[:, :count].copy())


def lattice(grid: Grid, spacing: float) -> np.ndarray:
    """Points about every `spacing` mm from one end of a grid to the other, (N, D), mm."""
    sides = [
        np.linspace(0, n - 1, max(1, round(n * s / spacing)) + 1) if n > 1 else np.zeros(1)
        for n, s in zip(grid.shape, grid.spacing, strict=True)
    ]
    index = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, grid.dim)
    return grid.to_world(index)

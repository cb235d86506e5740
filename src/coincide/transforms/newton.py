"""Newton: the inverse of any transform that knows its Jacobian, point by point."""

import torch
from torch import Tensor

from coincide.space.grid import Grid
from coincide.space.shapes import Field, Points
from coincide.transforms.derivatives import hessian_at, jacobian_at
from coincide.transforms.read_out import read_out_of
from coincide.transforms.transform import Transform

STEPS = 30  # at most; a smooth map takes 3 to 5
HALVINGS = 6  # of a step that does not come nearer
LONGEST = 10.0  # times what is missed that a step may be
CLOSE = 1e-9  # what may be missed, mm


class Newton(Transform):
    r"""The inverse of a transform: where did what is here come from?

    $$ y_0 = 2x - T(x), \qquad y_{n+1} = y_n + J(y_n)^{-1} \big(x - T(y_n)\big) $$

    A step is halved until it comes nearer, so that points are found wherever a path without folds
    leads to them. Where T folds there may be no answer, or several: `residual` says what is left.
    Gradients reach the parameters of T through the last step, which is exact by the implicit
    function theorem.

    Args:
        transform: T, with a Jacobian (see `jacobian_at`).
        steps: Iterations at most. With 1 it is the Taylor expansion of the inverse of order 1
            about $T(y_0)$.

    Example:
        >>> from coincide.transforms.linear import Affine
        >>> inverse = Newton(Affine(2 * torch.eye(4)))
        >>> bool((inverse(2 * points) - points).norm(dim=-1).max() < 1e-9)
        True
    """

    def __init__(self, transform: Transform, steps: int = STEPS):
        super().__init__()
        self.transform, self.steps = transform, steps

    @property
    def field_grid(self) -> Grid | None:
        """Where it is sampled for who cannot hold it: where the transform is."""
        own = getattr(self.transform, "field_grid", None)
        return getattr(self.transform, "grid", None) if own is None else own

    def forward(self, points: Points) -> Points:
        """Places, (B, P, D) mm, that the transform sends to the points."""
        return self.solved(points, 2 * points - self.transform(points))

    def solved(self, points: Points, guess: Points) -> Points:
        """The same from another first guess, (B, P, D) mm."""
        with torch.no_grad():
            # in float64 whatever is asked, as the answer is a difference of large numbers
            found = self._iterated(points.double(), guess.double()).to(points.dtype)
        wanted = points.requires_grad or any(p.requires_grad for p in self.parameters())
        if not (wanted and torch.is_grad_enabled()):
            return found
        # one more step, of which T alone has a gradient: dy = J⁻¹ (dx - dT)
        step = _solved(jacobian_at(self.transform, found).detach(), points - self.transform(found))
        # for the gradient alone: its value was looked at already
        return found + (step - step.detach())

    def residual(self, points: Points) -> Tensor:
        """How far the transform still misses the points from where they were found, mm, (B, P)."""
        with torch.no_grad():
            return (self.transform(self(points)) - points).norm(dim=-1)

    def displacement(self, grid: Grid, inner: Field | None = None) -> Field:
        """Displacement at the voxels of `grid`, mm, (B, D, *S)."""
        return read_out_of(self, lambda points: self(points.double()) - points, grid, inner)

    def inverse(self) -> Transform:
        """The transform itself."""
        return self.transform

    def on(self, grid: Grid) -> "Newton":
        """The inverse of the transform expressed on `grid`."""
        return Newton(self.transform.on(grid), self.steps)

    def _iterated(self, points: Points, found: Points) -> Points:
        missed = points - self.transform(found)
        # a map of several pairs gives an answer for each
        found, points = (t.expand_as(missed).clone() for t in (found, points))
        # a point that no part of a step brings nearer is given up, as where there is no answer
        hopeful = torch.ones_like(missed[..., 0], dtype=torch.bool)
        for _ in range(self.steps):
            waiting = hopeful & (missed.norm(dim=-1) > CLOSE)
            # most have arrived after a few steps, and only the rest is worth another look
            rest = waiting.any(0).nonzero()[:, 0]
            if not len(rest):
                break
            step = _limited(
                _solved(jacobian_at(self.transform, found[:, rest]), missed[:, rest]),
                missed[:, rest],
            )
            for _ in range(HALVINGS):
                start, at_start, still = found[:, rest], missed[:, rest], waiting[:, rest]
                there = torch.where(still[..., None], start + step, start)
                left = points[:, rest] - self.transform(there)
                nearer = still & (left.norm(dim=-1) < at_start.norm(dim=-1))
                found[:, rest] = torch.where(nearer[..., None], there, start)
                missed[:, rest] = torch.where(nearer[..., None], left, at_start)
                waiting[:, rest] = still & ~nearer
                kept = waiting[:, rest].any(0)
                rest, step = rest[kept], step[:, kept] / 2
                if not len(rest):
                    break
            hopeful &= ~waiting
        return found


def expanded(transform: Transform, points: Points, guess: Points, order: int) -> Points:
    r"""The inverse about a guess y, by Taylor's expansion about T(y), without iteration.

    $$ T^{-1}(x) \approx y + s - \tfrac12 J^{-1} H(s, s), \qquad s = J^{-1} \big(x - T(y)\big) $$

    with the derivatives J and H of T at y; of order 1 the last term is left out. A guess that is
    wrong by δ is wrong by about δ² then, and of order 2 by δ³. Gradients reach T and the guess.

    Args:
        transform: T, with a Jacobian, and for order 2 with second derivatives.
        points: x, (B, P, D) mm.
        guess: y, (B, P, D) mm.
        order: 1 or 2.
    """
    slope = jacobian_at(transform, guess)
    step = _solved(slope, points - transform(guess))
    if order == 1:
        return guess + step
    curved = torch.einsum("bpijk,bpj,bpk->bpi", hessian_at(transform, guess), step, step)
    return guess + step - _solved(slope, curved) / 2


def _solved(slope: Tensor, missed: Tensor) -> Tensor:
    """J⁻¹ r, (B, P, D); r itself where J has no inverse."""
    flat = torch.linalg.det(slope).abs() < 1e-6
    one = torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
    slope = torch.where(flat[..., None, None], one, slope)
    return torch.linalg.solve(slope, missed[..., None])[..., 0]


def _limited(step: Tensor, missed: Tensor) -> Tensor:
    """A step no longer than ten times what is missed: a nearly flat J would lead anywhere."""
    length, most = step.norm(dim=-1, keepdim=True), LONGEST * missed.norm(dim=-1, keepdim=True)
    return step * (most / length.clamp_min(1e-30)).clamp_max(1)


@jacobian_at.register
def _(transform: Newton, points: Points) -> Tensor:
    return torch.linalg.inv(jacobian_at(transform.transform, transform(points)))


@hessian_at.register
def _(transform: Newton, points: Points) -> Tensor:
    found = transform(points)
    back = torch.linalg.inv(jacobian_at(transform.transform, found))
    # from T(S(x)) = x, differentiated twice: S'' = -J⁻¹ T''(S', S')
    curve = hessian_at(transform.transform, found)
    return -torch.einsum("bpia,bpacd,bpcj,bpdk->bpijk", back, curve, back, back)

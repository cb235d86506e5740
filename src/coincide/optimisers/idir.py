"""IDIR: implicit registration exactly as it was published, to be compared with."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.similarities.ncc import NCC
from coincide.transforms.jacobian import cofactors_at, determinant_at
from coincide.transforms.siren import Siren
from coincide.transforms.transform import Transform

WEIGHTS = {"jacobian": 0.05, "hyperelastic": 0.25, "bending": 10.0, "none": 0.0}


@dataclass(frozen=True)
class IDIR(Optimiser):
    r"""The published recipe of implicit registration, its peculiarities kept; `sampled` is better.

    It moves `siren(width=256, depth=3, omega=32.0, unit_cube=True)` and differs from `sampled` in
    that

    - everything is measured in a cube from -1 to 1, whose axes are stretched differently;
    - points are voxel centres of the fixed mask, drawn without replacement, without jitter;
    - the correlation is that of the whole batch, with standard deviations of $n - 1$;
    - beyond the moving image its outermost cell is continued linearly instead of being left out;
    - the regulariser is asked at all points, and in bending the mixed derivative of the second and
      the third axis counts once instead of twice, and the mean is divided by the number of points
      once more;
    - Adam has a constant rate.

    It is no part that text knows of: give the object itself.

    Args:
        regulariser: `jacobian`, mean of $|\det J - 1|$; `hyperelastic`; `bending`; or `none`.
        weight: Its factor; 0: the published one, 0.05, 0.25 or 10.
        points: Points of a batch.
        rate: Adam's.
        seed: Which points are drawn.

    Example:
        >>> str(IDIR(regulariser="bending"))
        "idir(regulariser='bending')"

    References:
        Wolterink, Zwienenberg, Brune (2022), Implicit neural representations for deformable image
        registration, PMLR 172.
    """

    name: ClassVar[str] = "idir"
    regulariser: str = "jacobian"
    weight: float = 0.0
    points: int = 10_000
    rate: float = 1e-4
    seed: int = 1

    def __post_init__(self):
        if self.regulariser not in WEIGHTS:
            raise ValueError(
                f"idir has no regulariser {self.regulariser!r}; known: {', '.join(WEIGHTS)}"
            )

    def start(self, problem: Problem) -> "IDIRRun":
        """Begin on a level."""
        terms = problem.objective.terms
        if len(terms) != 1 or not isinstance(terms[0][1], NCC):
            raise ValueError(
                f"idir has its own regulariser and minimises 'ncc', not {problem.objective}; use "
                "sampled for any other objective"
            )
        if not (isinstance(problem.transform, Siren) and problem.transform.unit_cube):
            raise ValueError(
                f"idir moves a siren in the unit cube, not {type(problem.transform).__name__}; use "
                "siren(width=256, depth=3, omega=32.0, unit_cube=True)"
            )
        return IDIRRun(self, problem, problem.transform)


class IDIRRun(Run):
    """State of `IDIR`: both images in the cube, Adam's memory, and which points come next."""

    noisy = True

    def __init__(self, rule: IDIR, problem: Problem, transform: Siren):
        self.rule, self.problem, self.transform = rule, problem, transform
        self.adam = torch.optim.Adam(problem.free(), lr=rule.rate)
        self.generator = torch.Generator().manual_seed(rule.seed)
        fixed = problem.fixed
        self.voxels = torch.nonzero(fixed.weight()[0, 0] > 0).cpu()
        self.values = fixed.data[0, 0]

    def step(self) -> tuple[float, dict[str, float]]:
        """One batch, one gradient, one update."""
        chosen = torch.randperm(len(self.voxels), generator=self.generator)[: self.rule.points]
        voxels = self.voxels[chosen].to(self.values.device)
        fixed, moving = self.problem.fixed, self.problem.moving
        affine = torch.as_tensor(np.array(fixed.grid.affine)).to(self.values.device)
        centres = voxels.double() @ affine[:-1, :-1].T + affine[:-1, -1]
        out, back, centre = self.transform.axes(centres)
        cube = ((centres - centre) @ back.T).float()
        jets = self.transform.network.jets(cube, 2 if self.rule.regulariser == "bending" else 1)
        there = (cube + jets[0]).double() @ out.T + centre
        index = torch.as_tensor(np.array(moving.grid.inverse)).to(there)
        index = (there @ index[:-1, :-1].T + index[:-1, -1]).float()
        agree = correlation(self.values[tuple(voxels.T)], continued(moving.data[0, 0], index))
        rough = regularity(self.rule.regulariser, jets)
        weight = self.rule.weight or WEIGHTS[self.rule.regulariser]
        cost = -agree + weight * rough
        self.adam.zero_grad()
        cost.backward()
        self.adam.step()
        found = {"ncc": -float(agree.detach()), self.rule.regulariser: float(rough.detach())}
        return float(cost.detach()), found

    def finish(self) -> Transform:
        """The transform, changed in place."""
        return self.transform


def correlation(fixed: Tensor, moved: Tensor) -> Tensor:
    """Correlation of two rows of values (N,), their spreads those of a sample (n - 1)."""
    product_ = (fixed - fixed.mean()) * (moved - moved.mean())
    return product_.mean() / (fixed.std() * moved.std() + 1e-10)


def continued(volume: Tensor, index: Tensor) -> Tensor:
    """Linear interpolation of (*S) at voxels with fractions (N, D), continued linearly outside."""
    size = torch.tensor(volume.shape, dtype=index.dtype, device=index.device)
    low = torch.minimum(index.detach().floor(), size - 2).clamp_min(0)
    t, low, last = index - low, low.long(), (size - 1).long()
    total = torch.zeros_like(index[:, 0])
    for corner in product((0, 1), repeat=index.shape[1]):
        at = torch.minimum(low + torch.tensor(corner, device=index.device), last)
        weights = [t[:, d] if up else 1 - t[:, d] for d, up in enumerate(corner)]
        total = total + torch.stack(weights).prod(0) * volume[tuple(at.T)]
    return total


def regularity(name: str, jets: tuple[Tensor, ...]) -> Tensor:
    """A regulariser of a displacement in the cube, from its jets (N, D), (N, D, D), ….

    Args:
        name: One of `WEIGHTS`.
        jets: Value and derivatives.
    """
    slope = jets[1]
    jacobian = slope + torch.eye(slope.shape[-1], dtype=slope.dtype, device=slope.device)
    if name == "none":
        return slope.new_zeros(())
    if name == "jacobian":
        return (determinant_at(jacobian) - 1).abs().mean()
    if name == "hyperelastic":
        length = slope.square().sum((1, 2)) / 2
        grown = (cofactors_at(jacobian).square().sum(1) - 1).clamp_min(0).square().sum(1)
        volume = determinant_at(jacobian)
        return (length + grown + (volume - 1) ** 4 / volume**2).mean()
    squares, dim = jets[2].square(), slope.shape[-1]
    total = squares.diagonal(dim1=-2, dim2=-1).sum(-1)
    for a in range(dim):
        for b in range(a + 1, dim):
            # the pair of the second and third axis counts once, as published
            total = total + (1 if (a, b) == (1, 2) else 2) * squares[..., a, b]
    return total.mean() / len(total)

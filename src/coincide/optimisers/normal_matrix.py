"""Normal matrix: the curvature of a sum of squares in the weights of a design, and its solution."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from coincide.transforms.design import Design

ITERATIONS, TOLERANCE = 100, 1e-3  # of conjugate gradients; share of the residual that is left
TINY = 1e-30  # against dividing by nothing where the images show nothing


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Half a sum of squares about given weights.

    Args:
        squares: Curvature by the displacement of every point, (P, D, D).
        gradient: Slope by the weights, (K, D).
    """

    squares: Tensor
    gradient: Tensor


class Curvature(ABC):
    r"""$H = A^\top M A + \lambda B$, over all axes together."""

    @abstractmethod
    def solved(self, gradient: Tensor, damping: float) -> Tensor:
        r"""$(H + \mu)^{-1}$ applied to a gradient (K, D), where $\mu$ is a share of H's diagonal.

        Args:
            gradient: (K, D).
            damping: $\mu$ divided by the mean of the diagonal.
        """


def curvature_of(
    design: Design, matrix: Tensor, curved: Tensor, about: Quadratic, stiffness: float
) -> Curvature:
    """The curvature, summed up where the functions reach everywhere, and applied where they do not.

    Args:
        design: What is linear.
        matrix: The functions at the points, (P, K).
        curved: Where bending is taken, (P', D).
        about: The quadratic at the points.
        stiffness: Weight of bending.
    """
    if matrix.is_sparse:
        return _Sparse(design, matrix, curved, about, stiffness)
    return _Dense(design, matrix, curved, about, stiffness)


class _Dense(Curvature):
    """One block for every two axes."""

    def __init__(
        self, design: Design, matrix: Tensor, curved: Tensor, about: Quadratic, stiffness: float
    ):
        count, dim = about.gradient.shape
        whole = torch.empty(dim, count, dim, count, dtype=torch.float64, device=matrix.device)
        for i in range(dim):
            for j in range(i, dim):
                block = matrix.T @ (about.squares[:, i, j, None] * matrix)
                whole[i, :, j] = block
                whole[j, :, i] = block.T
        if stiffness:
            bent = stiffness * design.bent(torch.eye(count).to(about.gradient), curved)
            for i in range(dim):
                whole[i, :, i] += bent
        self.whole = whole.reshape(dim * count, dim * count)

    def solved(self, gradient: Tensor, damping: float) -> Tensor:
        """By Cholesky's factors."""
        diagonal = self.whole.diagonal()
        damped = self.whole.clone()
        damped.diagonal().add_(damping * float(diagonal.mean()) + TINY)
        wanted = gradient.T.reshape(-1, 1).to(damped.dtype)
        factor, failed = torch.linalg.cholesky_ex(damped)
        # rounding may leave a tiny negative eigenvalue, which another factorisation bears
        found = (
            torch.linalg.solve(damped, wanted) if failed else torch.cholesky_solve(wanted, factor)
        )
        return found.reshape(gradient.shape[::-1]).T.to(gradient.dtype)


class _Sparse(Curvature):
    """Never written out: conjugate gradients, preconditioned by the block of each weight."""

    def __init__(
        self, design: Design, matrix: Tensor, curved: Tensor, about: Quadratic, stiffness: float
    ):
        self.design, self.curved, self.stiffness = design, curved, stiffness
        # many products with one matrix, at which SciPy is many times as fast as torch
        values, place = matrix.values().cpu().numpy(), matrix.indices().cpu().numpy()
        self.matrix = csr_array((values, place), shape=tuple(matrix.shape))
        self.back = self.matrix.T.tocsr()
        self.squares = about.squares.cpu().numpy()
        count, dim = about.gradient.shape
        self.blocks = (self.back.power(2) @ self.squares.reshape(-1, dim * dim)).reshape(
            count, dim, dim
        )
        if stiffness:
            own = stiffness * design.stiffness(curved).cpu().numpy()
            self.blocks = self.blocks + own[:, None, None] * np.eye(dim)

    def solved(self, gradient: Tensor, damping: float) -> Tensor:
        """By conjugate gradients."""
        dim = gradient.shape[1]
        extra = damping * self.blocks.diagonal(axis1=1, axis2=2).mean() + TINY
        inverse = np.linalg.inv(self.blocks + extra * np.eye(dim))
        residual = gradient.cpu().numpy().astype(np.float64)
        found = np.zeros_like(residual)
        ahead = (inverse @ residual[..., None])[..., 0]
        direction, size = ahead, (residual * ahead).sum()
        enough = TOLERANCE * np.linalg.norm(residual)
        for _ in range(ITERATIONS):
            if np.linalg.norm(residual) <= enough:
                break
            applied = self._applied(direction) + extra * direction
            length = size / (direction * applied).sum()
            found = found + length * direction
            residual = residual - length * applied
            ahead = (inverse @ residual[..., None])[..., 0]
            size, before = (residual * ahead).sum(), size
            direction = ahead + size / before * direction
        return torch.as_tensor(found).to(gradient)

    def _applied(self, weights: np.ndarray) -> np.ndarray:
        forced = (self.squares @ (self.matrix @ weights)[..., None])[..., 0]
        total = self.back @ forced
        if self.stiffness:
            bent = self.design.bent(torch.as_tensor(weights).to(self.curved), self.curved)
            total = total + self.stiffness * bent.cpu().numpy()
        return total

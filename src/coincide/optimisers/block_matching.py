"""Block matching: a linear map from where small blocks are found, believing only half of them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coincide.alignment import pulled
from coincide.kernels.blocks import match_blocks
from coincide.optimisers.linear_map import LinearMap
from coincide.optimisers.optimiser import Optimiser, Problem, Run
from coincide.registry import named
from coincide.space.image import Image
from coincide.transforms.transform import Transform

SIZE = 4  # voxels of a block along each axis
ROUNDS = 50  # fits until the blocks that are inliers stay the same
STILL = 0.01  # move of every corner below which a step is the last, voxels


@named("block_matching")
@dataclass(frozen=True)
class BlockMatching(Optimiser):
    r"""Robust linear registration: blocks are found one by one, and outliers left out.

    Blocks of 4 voxels along each axis are looked for in the warped moving image, within `reach`
    voxels, where the correlation is largest in size, whatever its sign. The map is fitted to
    where the blocks $x_n$ belong, $y_n$, by least trimmed squares:

    $$\min_\theta \sum_{n \in H} \lVert T_\theta(x_n) - y_n \rVert^2$$

    over the share `inlier_fraction` of the blocks $H$ with the smallest residuals. What moves on
    its own, a tumour, a tool, or an organ, is then left out as long as it covers less than the
    rest.

    Takes translations, rigid, similarity and affine transforms, and one pair of one channel. The
    objective does not steer the fit: it is only reported, and says when to stop.

    Args:
        reach: How far blocks are looked for, voxels of the level (1 or more).
        blocks: Share of the blocks, those with the largest variance, that are looked for (0 to 1].
        inlier_fraction: Share of the blocks that the map is fitted to (0 to 1].

    References:
        Ourselin et al. (2001), doi:10.1016/S0262-8856(00)00052-4;
        Modat et al. (2014), doi:10.1117/1.JMI.1.2.024003.
    """

    reach: int = 4
    blocks: float = 0.5
    inlier_fraction: float = 0.5

    def start(self, problem: Problem) -> "BlockMatchingRun":
        """Begin on a level."""
        return BlockMatchingRun(self, problem)


class BlockMatchingRun(Run):
    """State of `BlockMatching`: the blocks of the fixed image, and the map."""

    def __init__(self, rule: BlockMatching, problem: Problem):
        self.rule, self.problem = rule, problem
        self.map = LinearMap(problem, "block_matching")
        shapes = tuple(problem.fixed.data.shape[:2]), tuple(problem.moving.data.shape[:2])
        if shapes != ((1, 1), (1, 1)):
            raise ValueError(
                "block_matching takes one pair of one channel, not (pairs, channels) of "
                f"{shapes[0]} and {shapes[1]}; use gauss_newton or lbfgs"
            )
        self.starts = highest_variance(problem.fixed, rule.blocks)
        # a lopsided peak lies beside the voxel even where a block is found in its own image
        image = problem.fixed.data[0, 0]
        self.bias, _ = peaks(
            match_blocks(image, image, torch.ones_like(image), self.starts, SIZE, 1)
        )
        grid = problem.fixed.grid
        size = np.minimum(SIZE, grid.shape)
        self.centres = grid.to_world(self.starts + (size - 1) / 2)
        # under two linear maps no voxel differs by more than one of the corners does
        self.corners = grid.to_world(
            np.array(list(np.ndindex(*(2,) * grid.dim))) * (np.array(grid.shape) - 1)
        )

    def step(self) -> tuple[float, dict[str, float]]:
        """Find every block, fit the map."""
        with torch.no_grad():
            total, values = self.problem.cost()
            warped = pulled(self.problem.moving, self.map.transform, self.problem.fixed.grid)
        cost = float(total)
        if not np.isfinite(cost):
            return cost, values
        assert warped.mask is not None
        fixed = self.problem.fixed.data[0, 0]
        known = warped.mask[0, 0]
        scores = match_blocks(fixed, warped.data[0, 0], known, self.starts, SIZE, self.rule.reach)
        offsets, found = peaks(scores)
        offsets = offsets - self.bias
        before = self._sent(self.corners)
        # if no block is found the map stays, and standing still ends the level
        if found.any():
            # offsets are in voxels along the axes of the fixed grid
            turned = offsets[found] @ self.problem.fixed.grid.affine[:-1, :-1].T
            # the image was warped by the map so far, so that what was found is sent on by it
            self._fit(self.centres[found], self._sent(self.centres[found] + turned))
        moved = np.linalg.norm(self._sent(self.corners) - before, axis=1).max()
        self.stalled = bool(moved < STILL * self.problem.fixed.grid.finest)
        return cost, values

    def finish(self) -> Transform:
        """The transform, changed in place."""
        return self.problem.transform

    def _sent(self, points: np.ndarray) -> np.ndarray:
        matrix = self.map.transform.numpy()
        return points @ matrix[:-1, :-1].T + matrix[:-1, -1]

    def _fit(self, points: np.ndarray, targets: np.ndarray) -> None:
        """Least trimmed squares from `points` to `targets`, (N, D) mm, by Gauss-Newton steps."""
        raised = np.concatenate([points, np.ones_like(points[:, :1])], 1)
        count = max(int(np.ceil(self.rule.inlier_fraction * len(points))), 1)
        inliers = np.ones(len(points), bool)
        # concentration: fit, keep the smallest residuals, fit again until they stay the same
        for _ in range(ROUNDS):
            gap = targets - self._sent(points)
            jacobian = np.einsum("dep,ne->ndp", self.map.jacobian(), raised[inliers])
            jacobian = jacobian.reshape(-1, jacobian.shape[-1])
            curvature, wanted = jacobian.T @ jacobian, jacobian.T @ gap[inliers].reshape(-1)
            # too few blocks leave some parameters as they are
            self.map.move(self.map.point() + np.linalg.lstsq(curvature, wanted, rcond=1e-9)[0])
            residual = np.square(targets - self._sent(points)).sum(1)
            smallest = np.zeros_like(inliers)
            # stable, so that blocks with equal residuals do not take turns for ever
            smallest[np.argsort(residual, kind="stable")[:count]] = True
            if (smallest == inliers).all():
                break
            inliers = smallest


def highest_variance(image: Image, share: float) -> np.ndarray:
    """First voxels of the blocks of largest variance, (N, D), among those inside the mask.

    Args:
        image: One pair, one channel.
        share: Of all blocks, in (0, 1].
    """
    size = [min(SIZE, n) for n in image.grid.shape]
    values, inside = (_cut(t[0, 0].cpu(), size) for t in (image.data, image.weight()))
    spread = values.double().var(-1, correction=0)
    # blocks that the mask cuts count as flat, and flat ones are never looked for
    spread = torch.where(inside.amin(-1) > 0.5, spread, torch.zeros_like(spread)).numpy()
    count = min(int(np.ceil(share * spread.size)), int((spread > 0).sum()))
    # back in the order of memory, so that blocks beside each other are searched together
    first = np.sort(np.argsort(-spread, axis=None, kind="stable")[:count])
    return np.stack(np.unravel_index(first, spread.shape), -1) * np.array(size)


def peaks(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (N, D), in parts of a voxel, of the largest of the scores, and which are known (N,).

    A parabola through the largest score and its neighbours along each axis says how far beside
    the voxel the peak lies.
    """
    count, width = len(scores), scores.shape[1:]
    best = scores.reshape(count, -1).argmax(1)
    index = np.stack(np.unravel_index(best, width), -1)
    rows = np.arange(count)
    top = scores[(rows, *index.T)].astype(float)
    offsets = index - (np.array(width) - 1) / 2
    for axis, n in enumerate(width):
        inner = (index[:, axis] > 0) & (index[:, axis] < n - 1)
        sides = []
        for step in (-1, 1):
            beside = index.copy()
            beside[:, axis] = np.clip(beside[:, axis] + step, 0, n - 1)
            sides.append(scores[(rows, *beside.T)].astype(float))
        low, high = sides
        bend = low - 2 * top + high
        # -1 marks a place that is not known, through which no parabola may go
        sure = inner & (low >= 0) & (high >= 0) & (bend < -1e-9)
        part = 0.5 * (low - high) / np.where(sure, bend, 1.0)
        offsets[:, axis] += np.where(sure, np.clip(part, -0.5, 0.5), 0.0)
    return offsets, top > 0


def _cut(values: Tensor, size: list[int]) -> Tensor:
    """Blocks side by side, (*blocks, voxels of a block); what is left at the end is left out."""
    for axis, n in enumerate(size):
        values = values.unfold(axis, n, n)
    return values.flatten(-len(size))

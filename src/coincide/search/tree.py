"""Tree: a minimum spanning tree over control points, and exact beliefs on it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy

from coincide.kernels.messages import gather, scatter
from coincide.space.image import Image


@dataclass(frozen=True, eq=False)
class Tree:
    """Control points in breadth-first order.

    Args:
        order: (N,) nodes, the root first; the children of a node stand together.
        parent: (N,) parent of each node, by node; that of the root is not used.
    """

    order: np.ndarray
    parent: np.ndarray

    @cached_property
    def first(self) -> np.ndarray:
        """(N + 1,): the children of order[p] are order[first[p]:first[p + 1]]."""
        children = np.bincount(self.parent[self.order[1:]], minlength=len(self.order))
        return np.concatenate([[1], 1 + np.cumsum(children[self.order])])

    @cached_property
    def generations(self) -> list[tuple[int, int]]:
        """Ranges of `order` that are equally far from the root, nearest first."""
        ranges = [(0, 1)]
        while self.first[ranges[-1][1]] > ranges[-1][1]:
            ranges.append((ranges[-1][1], int(self.first[ranges[-1][1]])))
        return ranges


def spanning_tree(image: Image) -> Tree:
    """The tree that joins neighbours of similar intensity, rooted in the middle.

    The sum of absolute intensity differences along its edges is the least possible, so that it
    follows organs and crosses their borders as seldom as it can.

    Args:
        image: (1, C, *N) intensities at the control points.
    """
    shape = image.grid.shape
    number = np.arange(image.grid.voxels, dtype=np.int32).reshape(shape)
    # in double precision, as a tree depends on the order of nearly equal differences
    values = image.data[0].double().numpy()
    starts, ends, weights = [], [], []
    for axis in range(len(shape)):
        low = [slice(None)] * len(shape)
        high = list(low)
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        starts.append(number[tuple(low)].ravel())
        ends.append(number[tuple(high)].ravel())
        apart = np.abs(values[(slice(None), *low)] - values[(slice(None), *high)]).sum(0)
        weights.append(apart.ravel())
    weight = np.concatenate(weights)
    weight += 1e-6 * weight.max(initial=1e-6)  # an edge of weight zero would be no edge
    index = np.concatenate(starts), np.concatenate(ends)
    csgraph = scipy.sparse.csgraph
    graph = scipy.sparse.coo_array((weight, index), shape=(number.size, number.size)).tocsr()
    root = number[tuple(n // 2 for n in shape)]
    order, parent = csgraph.breadth_first_order(
        csgraph.minimum_spanning_tree(graph), root, directed=False
    )
    return Tree(order.astype(np.int64), parent.astype(np.int64))


def beliefs(costs: np.ndarray, tree: Tree, stiffness: np.ndarray) -> float:
    r"""Turn costs into min-marginals: the least cost of the whole tree with a node held at a shift.

    $$b_n(d) = \min_{d_m,\, m \ne n} \sum_m c_m(d_m)
        + \sum_{(m, k)} \sum_a s_a \, (d_{m,a} - d_{k,a})^2 \Big|_{d_n = d}$$

    up to a constant for each node; exact, by one pass of messages to the root and one back.

    Args:
        costs: c, (N, LX, LY, LZ) float32, overwritten by b.
        tree: Over the N nodes.
        stiffness: s, (3,) cost of a difference of one step along each axis.

    Returns:
        The least cost of the whole tree.
    """
    stiffness = stiffness.astype(costs.dtype)
    # farthest from the root first: a node hears all its children before it speaks
    for nodes in reversed(tree.generations):
        gather(costs, tree.order, nodes, tree.first, stiffness)
    root = costs[tree.order[0]]
    least = float(root.min())
    # min-marginals are known up to a constant, which is kept small
    root -= root.min()
    for nodes in tree.generations[1:]:
        scatter(costs, tree.order, nodes, tree.parent, stiffness)
    return least

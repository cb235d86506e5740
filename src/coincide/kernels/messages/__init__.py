"""Messages: what the neighbours of a node on a tree think of each of its shifts; loops alone."""

import numpy as np

from coincide.kernels.messages import loops


def gather(
    costs: np.ndarray,
    order: np.ndarray,
    nodes: tuple[int, int],
    first: np.ndarray,
    stiffness: np.ndarray,
) -> None:
    """Add to some nodes the messages of their children, in place.

    They then hold the cost of their whole branches, if their children did.

    Args:
        costs: (N, LX, LY, LZ) float32.
        order: (N,) nodes, parents before children.
        nodes: Begin and end in `order` of those that receive.
        first: (N + 1,): the children of order[p] are order[first[p]:first[p + 1]].
        stiffness: (3,) cost of a squared difference of one step along each axis.
    """
    loops.gather(costs, order, *nodes, first, stiffness)


def scatter(
    costs: np.ndarray,
    order: np.ndarray,
    nodes: tuple[int, int],
    parent: np.ndarray,
    stiffness: np.ndarray,
) -> None:
    """Add to some branches the message of all that lies outside them, in place.

    They then hold the cost of the whole tree, up to a constant, if their parents did.

    Args:
        costs: (N, LX, LY, LZ) float32.
        order: (N,) nodes, parents before children.
        nodes: Begin and end in `order` of those that receive.
        parent: (N,) parent of each node, by node.
        stiffness: (3,) cost of a squared difference of one step along each axis.
    """
    loops.scatter(costs, order, *nodes, parent, stiffness)


def softened(source: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """The message of one node: least over e of source[e] + Σ_a stiffness_a · (d_a - e_a)².

    Args:
        source: (LX, LY, LZ) float32.
        stiffness: (3,) cost of a squared difference of one step along each axis.
    """
    out = np.empty_like(source)
    loops.softened(source, stiffness, np.empty_like(source), out)
    return out

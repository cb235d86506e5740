from itertools import product

import numpy as np
import pytest
import torch

from coincide.search.tree import beliefs, spanning_tree
from coincide.space.grid import Grid
from coincide.space.image import Image


def image(shape, seed=0):
    data = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed))
    return Image(data, Grid(shape, np.eye(len(shape) + 1)))


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 5), (1, 6), (1, 1)])
def test_a_tree_reaches_every_node_once_and_joins_neighbours(shape):
    tree = spanning_tree(image(shape))
    nodes = int(np.prod(shape))
    assert sorted(tree.order) == list(range(nodes))
    place = {int(node): n for n, node in enumerate(tree.order)}
    for node in tree.order[1:]:
        assert place[int(tree.parent[node])] < place[int(node)]
        apart = np.subtract(
            np.unravel_index(node, shape), np.unravel_index(tree.parent[node], shape)
        )
        assert np.abs(apart).sum() == 1
    for n, node in enumerate(tree.order):
        children = tree.order[tree.first[n] : tree.first[n + 1]]
        assert all(tree.parent[child] == node for child in children)
    assert sum(end - begin for begin, end in tree.generations) == nodes


def test_a_tree_crosses_a_border_once():
    data = torch.zeros(1, 1, 8, 6)
    data[..., 3:] = 1
    tree = spanning_tree(Image(data, Grid((8, 6), np.eye(3))))
    value = data.flatten()
    crossed = sum(bool(value[n] != value[tree.parent[n]]) for n in tree.order[1:])
    assert crossed == 1


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (5, 1)])
def test_beliefs_are_the_min_marginals_of_the_whole_tree(shape):
    tree = spanning_tree(image(shape, seed=1))
    nodes, shifts = int(np.prod(shape)), (1, 2, 2)
    costs = np.random.default_rng(0).random((nodes, *shifts)).astype(np.float32)
    weights = np.array([0.3, 0.2, 0.1])
    index = np.stack(np.indices(shifts), -1).reshape(-1, 3)
    expected = np.full((nodes, len(index)), np.inf)
    for choice in product(range(len(index)), repeat=nodes):
        total = sum(costs[n].ravel()[c] for n, c in enumerate(choice))
        for n in tree.order[1:]:
            apart = index[choice[n]] - index[choice[tree.parent[n]]]
            total += (weights * apart**2).sum()
        for n, c in enumerate(choice):
            expected[n, c] = min(expected[n, c], total)
    least = beliefs(costs, tree, weights)
    assert least == pytest.approx(expected.min(), abs=1e-5)
    found = costs.reshape(nodes, -1)
    np.testing.assert_allclose(found, expected - expected.min(), atol=1e-5)

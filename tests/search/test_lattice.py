import numpy as np
import pytest

from coincide.search import lattice as module
from coincide.search.lattice import lattice
from coincide.synthetic.phantoms import centred


@pytest.mark.parametrize("shape", [(31, 40, 22), (33, 17), (64, 60, 9), (5, 40, 40)])
def test_whole_cells_cover_the_image(shape):
    grid = centred(shape, [1.5, 2.0, 5.0][: len(shape)])
    plan = lattice(grid, spacing=8, reach=12, step=3)
    assert all(n % c == 0 for n, c in zip(plan.grid.shape, plan.cell, strict=True))
    low, high = plan.grid.to_index(grid.to_world(np.array([[0] * grid.dim, np.array(shape) - 1])))
    assert (low > -0.51).all()
    assert (high < np.array(plan.grid.shape) - 0.49).all()
    np.testing.assert_allclose(plan.nodes.centre, plan.grid.centre, atol=1e-9)
    assert len(plan.places) == np.prod(plan.shifts)


def test_lengths_are_in_mm_on_an_oblique_and_sheared_grid():
    affine = np.eye(4)
    affine[:3, :3] = [[2, 0.3, 0], [0, 1.5, 0.2], [0.1, 0, 3]]
    plan = lattice(module.Grid((20, 20, 20), affine), spacing=6, reach=6, step=1)
    world = plan.places @ plan.grid.affine[:-1, :-1].T
    np.testing.assert_allclose(plan.lengths, (world**2).sum(1), rtol=1e-4)


def test_control_points_grow_apart_where_memory_ends(monkeypatch):
    grid = centred((40, 40, 40), 2)
    free = lattice(grid, spacing=4, reach=16, step=4)
    monkeypatch.setattr(module, "LIMIT", 100_000)
    bound = lattice(grid, spacing=4, reach=16, step=4)
    assert bound.nodes.voxels * np.prod(bound.shifts) <= 100_000
    assert bound.shifts == free.shifts
    assert bound.cell > free.cell

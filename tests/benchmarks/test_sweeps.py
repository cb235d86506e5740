"""What the benchmarks of predictors compute from what they have measured."""

import numpy as np
import pytest
from nce_page import WEIGHTS, at_energy, table
from reliability import HEAPS, Heap

RANDOM = np.random.default_rng(0)


def test_a_spread_that_is_the_standard_deviation_lies_on_the_diagonal():
    heap = Heap()
    for scale in (1.0, 2.0, 4.0):
        spread = scale * RANDOM.uniform(0.5, 1.5, 4000)
        heap.spread.append(spread)
        heap.error.append(spread * np.abs(RANDOM.standard_normal(4000)))
    spread, error = heap.curve()
    assert spread.shape == (HEAPS,)
    np.testing.assert_allclose(error, spread, rtol=0.1)
    assert heap.ratio() == pytest.approx(1, abs=0.05)
    inside, over = heap.ranks()
    assert 0.2 < inside < 0.6
    assert over == pytest.approx(1)


def test_curves_are_compared_where_they_spend_the_same():
    energy = np.array([np.geomspace(1, 1e-3, len(WEIGHTS))])
    row = {"energy": energy, "dice": 0.7 + 0.01 * np.log(energy)}
    assert at_energy(row, 0.05) == pytest.approx(0.7 + 0.01 * np.log(0.05))
    assert np.isnan(at_energy(row, 5.0)).all()
    row |= {"folding": np.zeros_like(energy), "cpu_s": np.array([[9.0]])}
    last = table({"MI": row}).splitlines()[-1]
    assert last.startswith("| MI | 0.69")
    assert "0.7000 ± 0.0000 (0.0)" in last

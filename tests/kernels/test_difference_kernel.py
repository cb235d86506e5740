"""The squared difference is the same number wherever its arrays lie in memory."""

from itertools import permutations

import numpy as np

from coincide.kernels.difference import loops

VOXELS = 800


def test_the_sum_does_not_depend_on_which_array_lies_before_which():
    random = np.random.default_rng(0)
    given = {name: random.random(VOXELS, dtype=np.float32) for name in "fwm"}
    sums = set()
    for order in permutations("fwmgp"):  # fixed, warped, mask, gradient, partial sums
        memory, views, at = np.zeros(4 * VOXELS + 128, np.float32), {}, 0
        for name in order:
            size = 128 if name == "p" else VOXELS
            views[name] = memory[at : at + size]
            at += size
        for name, values in given.items():
            views[name][:] = values
        f, w, g = (views[name][None] for name in "fwg")
        partial = views["p"].view(np.float64)
        loops.squared(f, w, views["m"], np.float32(0.1), partial, g)
        sums.add(partial.tobytes())
        difference = given["m"] * (given["w"] - given["f"])
        np.testing.assert_allclose(g[0], np.float32(0.1) * difference, rtol=1e-5)
    assert len(sums) == 1

import sys

import numpy as np
import pytest

from coincide.synthetic.icbm import icbm152, second_contrast


@pytest.fixture(scope="module")
def brain():
    pytest.importorskip("nilearn", reason="the ICBM152 brain needs nilearn: pip install '.[demo]'")
    return icbm152(resolution=4)


def test_the_brain_lies_in_mni_space(brain):
    assert brain.t1.grid == brain.grey.grid == brain.white.grid
    assert np.allclose(brain.t1.grid.spacing, 4)
    index = np.round(brain.t1.grid.to_index(np.zeros(3))).astype(int)  # the anterior commissure
    assert brain.t1.numpy()[tuple(index)] > 0.2


def test_tissue_shares_lie_between_zero_and_one(brain):
    for image in brain:
        assert float(image.data.min()) == 0
        assert 0.9 < float(image.data.max()) <= 1


def test_a_litre_and_a_half_of_brain(brain):
    litres = float((brain.grey.data + brain.white.data).sum()) * 4**3 / 1e6
    assert 1.0 < litres < 1.8


def test_the_second_contrast_turns_white_matter_dark(brain):
    t2 = second_contrast(brain.grey, brain.white, brain.t1)
    white, grey = brain.white.data > 0.9, brain.grey.data > 0.8
    assert brain.t1.data[white].mean() > brain.t1.data[grey].mean()
    assert t2.data[white].mean() < t2.data[grey].mean()
    assert float(t2.data.max()) <= 1
    assert float(t2.data[brain.t1.data == 0].abs().max()) == 0


def test_a_missing_nilearn_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'coincide\[demo\]'"):
        icbm152()

"""The figure of Dice against minutes."""

import pytest
from ladder import drawn, rungs

from coincide.training.loop import CURVES


def test_minutes_are_shared_among_the_steps(tmp_path):
    rows = "step,loss,dice before,dice\n1,3,,\n2,2,0.5,0.6\n3,2,,\n4,1,0.5,0.75\n"
    (tmp_path / CURVES).write_text(rows)
    assert rungs(tmp_path, 10.0) == [(0.0, 0.5), (5.0, 0.6), (10.0, 0.75)]
    drawn({"one": rungs(tmp_path, 10.0)}, {"no network": 0.7}, tmp_path / "ladder.png")
    assert (tmp_path / "ladder.png").stat().st_size > 5000
    (tmp_path / CURVES).write_text("step,loss\n1,3\n")
    with pytest.raises(ValueError, match="train with --labels"):
        rungs(tmp_path, 10.0)
